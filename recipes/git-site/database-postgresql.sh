# PostgreSQL 10 and later; sourced by database.sh.
#
# A database cannot be loaded in the place of one that is in use: `pg_restore --clean` leaves what a failed migration made. So the dump is
# loaded into NAME-new-ID, and one transaction renames both: at no moment is there no database of the name.
# pg_dump dumps what is *in* a database. What is *about* it (owner, grants, ALTER DATABASE SET, comment, locale) is kept beside the dump
# as two files of SQL, made by `creation` and `settings`.

# Of the login only what says where and who. PGOPTIONS wins over what is set on the role or the database.
unset PGDATABASE PGCLIENTENCODING PGDATESTYLE PGTZ PGGEQO PSQLRC PGAPPNAME PSQL_PAGER PAGER PGTARGETSESSIONATTRS
PGOPTIONS='-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout=10min -c default_transaction_read_only=off'
PGOPTIONS="$PGOPTIONS -c client_min_messages=warning -c search_path=pg_catalog -c standard_conforming_strings=on"
PGOPTIONS="$PGOPTIONS -c synchronous_commit=on"
PGAPPNAME="fleet $verb"
export PGOPTIONS PGAPPNAME
[ -z "$DATABASE_HOST" ] || { PGHOST=$DATABASE_HOST && export PGHOST && unset PGHOSTADDR; }
[ -z "$DATABASE_USER" ] || { PGUSER=$DATABASE_USER && export PGUSER; }
[ -z "$DATABASE_CREDENTIALS" ] || { PGPASSFILE=$DATABASE_CREDENTIALS && export PGPASSFILE && unset PGPASSWORD; }
for program in psql pg_dump pg_restore; do
  need $program 'apt-get install postgresql-client'
done

files='postgresql.dump postgresql.create.sql postgresql.settings.sql'

# A plain name that holds `=` would be read as settings of a connection.
to() {
  printf "dbname='%s'" "$(printf '%s\n' "$1" | sed "s/[\\\\']/\\\\&/g")"
}

# Runs statements from standard input in the database $1. :'database' and :"database" are the site's.
sql() {
  in=$1
  shift
  psql -X -w -q -A -t -v ON_ERROR_STOP=1 -v database="$DATABASE_NAME" "$@" -d "$(to "$in")" -f -
}

# Statements about databases run in another one. A client that was killed may have left its statement running on the server: the lock
# waits for the end of that.
outside() {
  { printf '%s\n' "select pg_advisory_lock(hashtext('fleet ' || :'database')) \\g /dev/null" && cat; } >"$work/outside.sql"
  sql "$other" "$@" <"$work/outside.sql"
}

find_other() {
  for other in postgres template1; do
    [ "$other" != "$DATABASE_NAME" ] || continue
    ! echo 'select 1' | sql "$other" >/dev/null 2>"$work/error" || return 0
  done
  cat "$work/error" >&2
  die "cannot log in to PostgreSQL, see above" \
    "psql -w ${DATABASE_HOST:+-h '$DATABASE_HOST' }${DATABASE_USER:+-U '$DATABASE_USER' }-d postgres -c 'select 1'"
}
find_other

exists() {
  [ -n "$(echo "select 1 from pg_database where datname = :'name'" | sql "$other" -v name="$1")" ]
}
taken() {
  exists "$DATABASE_NAME-old-$1"
}

# The statement that makes a database :"name" with encoding, locale and tablespace of the site's. (to_jsonb: the columns differ by version.)
creation() {
  sql "$other" <<'SQL'
select 'create database :"name" template template0 encoding ' || quote_literal(pg_encoding_to_char(encoding))
  || format(' lc_collate %L lc_ctype %L', datcollate, datctype)
  || case j ->> 'datlocprovider'
     when 'c' then ' locale_provider libc'
     when 'i' then format(' locale_provider icu icu_locale %L', coalesce(j ->> 'datlocale', j ->> 'daticulocale'))
       || coalesce(format(' icu_rules %L', nullif(j ->> 'daticurules', '')), '')
     when 'b' then format(' locale_provider builtin builtin_locale %L', j ->> 'datlocale')
     else '' end
  || case spcname when 'pg_default' then '' else format(' tablespace %I', spcname) end || ';'
from (select d.*, to_jsonb(d) as j from pg_database d) as d join pg_tablespace t on t.oid = dattablespace
where datname = :'database';
SQL
}

# Statements that give the database :"name" the owner, grants, settings and comment that the database $1 has.
settings() {
  sql "$other" -v name="$1" <<'SQL'
with d as (select * from pg_database where datname = :'name'),
acl as (
  select (aclexplode(coalesce(datacl, acldefault('d', datdba)))).* from d
), setting as (
  select case when setrole = 0 then 'database :"name"' else format('role %I in database :"name"', pg_get_userbyid(setrole)) end as target,
    split_part(entry, '=', 1) as name, substr(entry, strpos(entry, '=') + 1) as value
  from d join pg_db_role_setting on setdatabase = d.oid, unnest(setconfig) as entry
)
select line from (
  select 1 as part, format('alter database :"name" owner to %I;', pg_get_userbyid(datdba)) as line from d
  union all select 2, format('alter database :"name" connection limit %s;', datconnlimit) from d
  union all select 3, format('revoke all on database :"name" from public, %I;', pg_get_userbyid(datdba)) from d
  union all select 4, format('grant %s on database :"name" to %s%s;', privilege_type,
    case when grantee = 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end,
    case when is_grantable then ' with grant option' else '' end) from acl
  -- These are lists, kept as "a", "b"; to be one literal for each.
  union all select 5, format('alter %s set %I to %s;', target, name, case
    when name in ('search_path', 'local_preload_libraries', 'session_preload_libraries', 'temp_tablespaces')
    then translate(value, '"', '''') else quote_literal(value) end) from setting
  union all select 6, format('comment on database :"name" is %L;', shobj_description(oid, 'pg_database')) from d
    where shobj_description(oid, 'pg_database') is not null
) as lines order by part, line collate "C";
SQL
}

# Gives the database $1 what the file $2 says; fails unless it then has exactly that.
apply_settings() {
  outside --single-transaction -v name="$1" <"$2" >/dev/null
  settings "$1" >"$work/settings"
  cmp -s "$2" "$work/settings" || {
    diff "$2" "$work/settings" >&2 || :
    die "owner, grants or settings of $DATABASE_NAME cannot be given to $1 as they were, see above"
  }
}

drop() {
  outside -v name="$1" >/dev/null <<'SQL'
select format('alter database %I with allow_connections false', datname) from pg_database where datname = :'name' \gexec
select pg_terminate_backend(pid) from pg_stat_activity where datname = :'name' and usesysid is not null;
drop database if exists :"name";
SQL
}

# What a call that was killed left closed.
reopen() {
  outside <<'SQL'
select format('alter database %I with allow_connections true', datname) from pg_database
where datname = :'database' and not datallowconn \gexec
SQL
}

# Ends all connections. An application that connects again at once is refused from the first statement on, superusers, too.
close_and() {
  {
    cat <<'SQL'
select format('alter database %I with allow_connections false', datname) from pg_database where datname = :'database' \gexec
select pg_terminate_backend(pid) from pg_stat_activity where datname = :'database' and usesysid is not null \g /dev/null
SQL
    echo "set lock_timeout = '${DATABASE_TIMEOUT}s';"
    cat
  } >"$work/closed.sql"
  # A connection that was just being made, or ends slowly, is there for the first time only.
  for try in 1 2 3; do
    ! outside "$@" <"$work/closed.sql" >/dev/null 2>"$work/error" || return 0
  done
  cat "$work/error" >&2
  return 1
}

# The database $1 becomes the site's.
swap() {
  free_id "$2"
  old=$DATABASE_NAME-old-$free
  close_and -v from="$1" -v old="$old" <<'SQL' || die "$DATABASE_NAME cannot be swapped, see above; it is as it was"
begin;
select format('alter database %I rename to %I', datname, :'old') from pg_database where datname = :'database' \gexec
select format('alter database %I with allow_connections true', datname) from pg_database where datname = :'old' \gexec
alter database :"from" rename to :"database";
alter database :"database" with allow_connections true;
commit;
SQL
}

abandon_new() {
  reopen
  drop "$new"
}

# What would stop one of the verbs, one a line, with what to type. Asked inside the database: it sees all.
problems() {
  sql "$DATABASE_NAME" <<'SQL'
with me as (select * from pg_roles where rolname = current_user),
d as (select * from pg_database where datname = current_database()),
owned as (
  select relowner as owner, 'the table ' || oid::regclass as what, 'pg_class'::regclass as class, oid from pg_class
    where relkind in ('r', 'p', 'v', 'm', 'S', 'f')
  union all select proowner, 'the function ' || oid::regprocedure, 'pg_proc'::regclass, oid from pg_proc
  union all select typowner, 'the type ' || oid::regtype, 'pg_type'::regclass, oid from pg_type where typrelid = 0
  union all select lomowner, 'the large object ' || oid, 'pg_largeobject'::regclass, oid from pg_largeobject_metadata
  union all select nspowner, 'the schema ' || quote_ident(nspname), 'pg_namespace'::regclass,
    -- Since version 15 the owner of a database owns its schema public. One that was upgraded may have it from before.
    case when nspname = 'public' and current_setting('server_version_num')::int >= 150000
      and pg_get_userbyid(nspowner) <> 'pg_database_owner' then 16384 else oid end from pg_namespace
),
foreign_owner as (
  select distinct on (owner) pg_get_userbyid(owner) as owner, what from owned
  where oid >= 16384 and not pg_has_role(current_user, owner, 'usage')
    and not exists (select 1 from pg_depend e where e.classid = class and e.objid = owned.oid and e.deptype = 'e')
  order by owner, what
),
setting as (
  select setrole, split_part(entry, '=', 1) as name from d join pg_db_role_setting on setdatabase = d.oid, unnest(setconfig) as entry
)
select text || E'\nhint: ' || hint from (
  select 'the server is a replica, which takes no changes' as text, 'DATABASE_HOST must be the primary' as hint
    where pg_is_in_recovery()
  union all select format('%s is not the owner of the database, and a database can be renamed by its owner only', current_user),
      format('as a superuser: alter database %I owner to %I', datname, current_user)
    from d, me where not rolsuper and not pg_has_role(current_user, datdba, 'usage')
  union all select format('%s may not create a database, and a backup is restored into a new one', current_user),
      format('as a superuser: alter role %I createdb', current_user)
    from me where not rolsuper and not rolcreatedb
  union all select format('%s belongs to %s, so %s cannot restore it', what, owner, current_user),
      format('as a superuser, in this database: reassign owned by %I to %I', owner, current_user)
    from foreign_owner where what <> 'the schema public' and owner <> pg_get_userbyid(10)
  union all select format('%s belongs to %s, so %s cannot restore it', what, owner, current_user),
      case what when 'the schema public' then 'as a superuser, in this database: alter schema public owner to pg_database_owner'
        else format('as a superuser, in this database: alter ... owner to %I', current_user) end
    from foreign_owner where what = 'the schema public' or owner = pg_get_userbyid(10)
  union all select format('only a superuser can restore the extension %s', extname), format('as a superuser: alter role %I superuser', current_user)
    from me, pg_extension e where not rolsuper and extname <> 'plpgsql' and not coalesce((
      select bool_or(coalesce((to_jsonb(v) ->> 'trusted')::bool, false) or not superuser)
      from pg_available_extension_versions v where name = extname), false)
  union all select format('only a superuser can restore the event trigger %I', evtname), format('as a superuser: alter role %I superuser', current_user)
    from me, pg_event_trigger where not rolsuper
  union all select format('only a superuser can restore the publication %I, which is for all tables', pubname),
      format('as a superuser: alter role %I superuser', current_user)
    from me, pg_publication where not rolsuper and puballtables
  union all select format('only a superuser can restore functions in %s, such as %s', lanname, min(p.oid::regprocedure::text)),
      format('as a superuser: alter role %I superuser', current_user)
    from me, pg_proc p join pg_language l on l.oid = prolang where not rolsuper and p.oid >= 16384 and not lanpltrusted
      and lanname <> 'internal' and not exists (select 1 from pg_depend e where e.objid = p.oid and e.deptype = 'e') group by lanname
  union all select format('row level security hides rows of %s from the dump', c.oid::regclass),
      format('as a superuser: alter role %I bypassrls', current_user)
    from me, pg_class c where relforcerowsecurity and not rolsuper and not rolbypassrls
  union all select format('only a superuser can restore the setting %s of the database', setting.name), format('as a superuser: alter role %I superuser', current_user)
    -- A name that no extension has defined, such as app.label, is a superuser's to give to a database.
    from me, setting left join pg_settings p on lower(p.name) = lower(setting.name)
    where not rolsuper and coalesce(context, 'superuser') = 'superuser'
  union all select format('%s cannot restore the setting %s of the role %s in the database', current_user, name, pg_get_userbyid(setrole)),
      format('as a superuser: alter role %I superuser', current_user)
    from me, setting where not rolsuper and setrole <> 0 and setrole <> me.oid
  union all select format('the replication slot %s belongs to the database, and would stay with the one that is swapped out', slot_name),
      format('select pg_drop_replication_slot(%L)', slot_name)
    from pg_replication_slots where database = current_database()
  union all select 'a subscription belongs to the database, and would stay with the one that is swapped out', 'drop subscription ...'
    where exists (select subdbid from pg_subscription join d on subdbid = d.oid)
  union all select format('the database has a security label, which a restore would lose'), 'security label on database ... is null'
    from d join pg_shseclabel on objoid = d.oid and classoid = 'pg_database'::regclass
  union all select 'the database is a template, which cannot be dropped later',
      format('alter database %I is_template false', datname) from d where datistemplate
  union all select format('the prepared transaction %s keeps the database in use', gid), format('rollback prepared %L', gid)
    from pg_prepared_xacts where database = current_database()
  union all select distinct format('%s is connected, and %s may not end its connections', usename, current_user),
      case when rolsuper then format('as %I: end them', usename)
        else format('as a superuser: grant pg_signal_backend to %I', current_user) end
    from pg_stat_activity a join pg_roles r on r.oid = usesysid where datname = current_database()
      and not (select rolsuper from me) and not pg_has_role(current_user, usesysid, 'usage')
      and (r.rolsuper or not pg_has_role(current_user, 'pg_signal_backend', 'usage'))
) as problems
SQL
}

do_check() {
  # NAME-point-ID
  [ "$(($(printf %s "$DATABASE_NAME" | wc -c) + 31))" -le 63 ] ||
    die "the name $DATABASE_NAME is too long: with -point- and the name of a run it must have 63 bytes at most"
  exists "$DATABASE_NAME" || die "there is no database $DATABASE_NAME" "createdb '$DATABASE_NAME'"
  [ -n "$(echo "select 1 from pg_database where datname = :'database' and datallowconn" | sql "$other")" ] ||
    die "the database $DATABASE_NAME takes no connections" \
      "psql -d $other -c 'alter database \"$DATABASE_NAME\" with allow_connections true'"
  server=$(echo "select current_setting('server_version_num')::int / 10000" | sql "$other")
  for program in pg_dump pg_restore; do
    client=$($program --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
    [ "$client" -ge "$server" ] || die "$program $client is older than the server, $server" "apt-get install postgresql-client-$server"
    # Since 17 a restore sets transaction_timeout, which earlier servers do not know.
    [ "$client" -lt 17 ] || [ "$server" -ge 17 ] ||
      die "$program $client cannot restore on a server $server" "apt-get install postgresql-client-$server"
  done
  problems >"$work/problems"
  if [ -s "$work/problems" ]; then
    cat "$work/problems" >&2
    exit 1
  fi
  do_schema >/dev/null
  version=$(echo "select split_part(current_setting('server_version'), ' ', 1)" | sql "$other")
  echo "postgresql $version, $DATABASE_NAME: $(do_size) MiB"
}

do_size() {
  echo "select (pg_database_size(:'database') + 524288) / 1048576" | sql "$other"
}

do_backup() {
  rm -f -- "$1/postgresql.sums"
  creation >"$1/postgresql.create.sql"
  settings "$DATABASE_NAME" >"$1/postgresql.settings.sql"
  [ -s "$1/postgresql.create.sql" ] || die "there is no database $DATABASE_NAME"
  pg_dump -w -Fc --lock-wait-timeout=600000 -f "$1/postgresql.dump" -d "$(to "$DATABASE_NAME")" ||
    die "the dump of $DATABASE_NAME failed, see above"
  pg_restore -f /dev/null "$1/postgresql.dump" || die "the dump of $DATABASE_NAME cannot be read, see above"
  write_sums "$1" $files
  echo "dumped $DATABASE_NAME: $(($(wc -c <"$1/postgresql.dump") / 1024)) KiB"
}

# `pg_restore -l` accepts a dump that is cut or damaged.
do_verify() {
  check_sums "$1" $files
  pg_restore -f /dev/null "$1/postgresql.dump" || die "the dump in $1 cannot be read, see above"
}

do_restore() {
  do_verify "$1"
  reopen
  new=$DATABASE_NAME-new-$2
  drop "$new"
  undo=abandon_new
  outside -v name="$new" <"$1/postgresql.create.sql" || die "cannot create $new, see above; $DATABASE_NAME is as it was"
  apply_settings "$new" "$1/postgresql.settings.sql"
  # Owners are kept: a superuser would else own what the site must write to.
  pg_restore -w --exit-on-error -d "$(to "$new")" "$1/postgresql.dump" ||
    die "the dump in $1 cannot be loaded, see above; $DATABASE_NAME is as it was"
  echo 'set client_min_messages = error; analyze' | sql "$new"
  swap "$new" "$2"
  undo=
  echo "restored $DATABASE_NAME; what was there is $old now"
}

do_point() {
  reopen
  drop "$DATABASE_NAME-point-$1"
  size=$(do_size)
  if [ "$size" -gt "$DATABASE_POINT_LIMIT" ]; then
    echo "no restore point: $size MiB are more than $DATABASE_POINT_LIMIT; the way back is the dump"
    return
  fi
  undo=reopen
  if close_and -v point="$DATABASE_NAME-point-$1" <<'SQL'
create database :"point" template :"database" allow_connections false;
SQL
  then
    echo "restore point $DATABASE_NAME-point-$1"
  else
    echo 'no restore point, see above; the way back is the dump'
  fi
  undo=
  reopen
}

do_back() {
  if ! exists "$DATABASE_NAME-point-$2"; then
    do_restore "$@"
    return
  fi
  check_sums "$1" $files
  reopen
  undo=reopen
  apply_settings "$DATABASE_NAME-point-$2" "$1/postgresql.settings.sql"
  swap "$DATABASE_NAME-point-$2" "$2"
  undo=
  echo "$DATABASE_NAME is the restore point of $2; what was there is $old now"
}

# Sorted by entry: pg_dump orders what has the same name by when it was made. Tablespaces are not compared.
do_schema() {
  settings "$DATABASE_NAME" >"$work/settings"
  owner=$(sed -n '1s/.* owner to \(.*\);$/\1/p' "$work/settings")
  grep -v -e '^alter database :"name" owner to ' -e '^revoke all ' "$work/settings" | grep -vF " on database :\"name\" to $owner" || :
  pg_dump -w -s --no-owner --lock-wait-timeout=600000 -f "$work/schema" -d "$(to "$DATABASE_NAME")" ||
    die "the schema of $DATABASE_NAME cannot be dumped, see above"
  sed -e '/^\\restrict /d' -e '/^\\unrestrict /d' -e '/^SET default_table/d' -e '/^$/d' -e '/^--$/d' -e '/^-- Dumped /d' \
    -e '/^-- PostgreSQL database dump/d' "$work/schema" |
    awk '/^-- Name: /{ printf "\n" } { printf "%s\001", $0 }  END { print "" }' | sort | tr '\001' '\n'
}

do_prune() {
  echo 'select datname from pg_database' | sql "$other" >"$work/names"
  for kind in old point new; do
    keep=$1
    # A load that was cut off is of no use.
    [ $kind != new ] || keep=0
    beyond "$work/names" $kind "$keep" >"$work/$kind"
    while IFS= read -r name; do
      drop "$name" </dev/null
      echo "dropped $name"
    done <"$work/$kind"
  done
}
