# MariaDB 10.3 and later; sourced by database.sh.
#
# A database cannot be renamed, but one RENAME TABLE moves all tables at once: those of NAME to NAME-old-ID, those of NAME-new-ID to NAME.
# It refuses a table with triggers, and views. So views, triggers, routines and events ("programs" below) are kept as SQL beside the
# dump; they are dropped before the tables move and made again afterwards. What that needs lies in a table `fleet-swap`, which moves along:
# it is in NAME-new-ID until the tables have moved, then in NAME-old-ID until the programs are back. The next call finishes what was killed.

unset MYSQL_HOME MYSQL_GROUP_SUFFIX MARIADB_HOME MYSQL_DEBUG MYSQL_PS1 PAGER
if command -v mariadb >/dev/null 2>&1; then client=mariadb; else client=mysql; fi
if command -v mariadb-dump >/dev/null 2>&1; then dump=mariadb-dump; else dump=mysqldump; fi
need $client 'apt-get install mariadb-client'
need $dump 'apt-get install mariadb-client'
# ~/.my.cnf would win over the file with the password.
[ -z "$DATABASE_CREDENTIALS" ] || { HOME=/dev/null && export HOME && unset MYSQL_PWD; }

# Runs a client with what says where and who. The file with the password must be the first option.
connected() {
  program=$1
  shift
  [ -z "$DATABASE_USER" ] || set -- --user="$DATABASE_USER" "$@"
  case $DATABASE_HOST in
  '') ;;
  /*) set -- --socket="$DATABASE_HOST" "$@" ;;
  *) set -- --host="$DATABASE_HOST" "$@" ;;
  esac
  [ -z "$DATABASE_CREDENTIALS" ] || set -- --defaults-extra-file="$DATABASE_CREDENTIALS" "$@"
  $program "$@"
}

# An option file may say who and where, and nothing else: `where` or `ignore-table` would leave rows out of the dump, `force` skip errors.
refuse_options() {
  for program in $client $dump; do
    set -- --print-defaults
    [ -z "$DATABASE_CREDENTIALS" ] || set -- --defaults-extra-file="$DATABASE_CREDENTIALS" "$@"
    $program "$@" >"$work/options" || die "$program cannot read its option files, see above"
    odd=$(sed 1d "$work/options" | tr ' ' '\n' | sed -n 's/^\(--[a-z][a-z_-]*\).*/\1/p' | tr _ - | grep -vx -e --user -e --password \
      -e --host -e --port -e --socket -e --protocol -e '--ssl.*' -e '--tls.*' -e --default-auth -e --plugin-dir -e --connect-timeout \
      -e --default-character-set -e --character-sets-dir -e --max-allowed-packet -e --net-buffer-length -e --quick -e --quote-names \
      -e --compress -e --prompt -e --pager -e --no-auto-rehash -e --skip-auto-rehash -e --auto-rehash -e --single-transaction) || continue
    die "an option file of $(id -un) sets $(echo "$odd" | head -n 1), which changes what $program does" "$program --print-defaults"
  done
}
refuse_options

literal() {
  printf "'%s'" "$(printf '%s\n' "$1" | sed "s/'/''/g; s/\\\\/\\\\\\\\/g")"
}
quoted() {
  printf '`%s`' "$(printf '%s\n' "$1" | sed 's/`/``/g')"
}
database=$(quoted "$DATABASE_NAME")
is_database=$(literal "$DATABASE_NAME")

# Who may not see the body of a routine that somebody else defined cannot dump it.
hint_routines='for a routine that somebody else defined, as root: grant select on mysql.proc to the user'

# Runs statements from standard input in the database $1 (or none). What is set on the server or the user does not count.
session="set sql_mode = '', lock_wait_timeout = $DATABASE_TIMEOUT, max_statement_time = 0, time_zone = '+00:00'"
read_sql() {
  in=$1
  shift
  connected $client --batch --raw --skip-column-names --skip-reconnect --comments --binary-mode --default-character-set=utf8mb4 \
    --init-command="$session" "$@" -- ${in:+"$in"}
}
# The same for changes. A client that was killed may have left its statement running on the server: the lock waits for the end of that.
sql() {
  reads=$session
  session="$session, @fleet = if(get_lock($(literal "fleet $DATABASE_NAME"), 600), 1, (select 1 union select 2))"
  read_sql "$@" && status=0 || status=$?
  session=$reads
  return $status
}

find_server() {
  echo 'select 1' | read_sql '' >/dev/null 2>"$work/error" || {
    cat "$work/error" >&2
    die 'cannot log in to MariaDB, see above' "$client ${DATABASE_HOST:+-h '$DATABASE_HOST' }${DATABASE_USER:+-u '$DATABASE_USER' }-e 'select 1'"
  }
}
find_server

exists() {
  [ -n "$(echo "select 1 from information_schema.schemata where schema_name = $(literal "$1")" | read_sql '')" ]
}
taken() {
  exists "$DATABASE_NAME-old-$1"
}
# Tables of the database $1 of the types $2 (SQL), one a line.
tables() {
  echo "select table_name from information_schema.tables where table_schema = $(literal "$1") and table_type $2 order by 1" | read_sql ''
}

dump() {
  connected $dump --default-character-set=utf8mb4 --hex-blob --no-tablespaces "$@"
}

# Dumps of the database $1 what the options say, without views: one that a failed migration has broken fails the dump.
dump_without_views() {
  from=$1
  shift
  tables "$from" "like '%VIEW'" >"$work/views"
  while IFS= read -r name; do set -- "$@" --ignore-table="$from.$name"; done <"$work/views"
  dump "$@" -- "$from"
}

# What the tables of a database get that say nothing else.
settings() {
  echo 'select concat("character set ", @@character_set_database, " collate ", @@collation_database)' | read_sql "$1"
}

drop() {
  echo "drop database if exists $(quoted "$1")" | sql ''
}

tab=$(printf '\t')

# Programs of the database $1 as SQL. A routine is replaced and not dropped, which would take away who may execute it.
programs() {
  dump_without_views "$1" --no-create-info --no-data --skip-lock-tables --skip-comments --triggers --routines --events >"$work/dump" || return
  sed -e '/^\/\*M!999999/d' -e '/^\/\*!50003 DROP [A-Z ]* IF EXISTS /d' -e 's/^CREATE DEFINER=/CREATE OR REPLACE DEFINER=/' "$work/dump" |
    without_name
  set -- "$1"
  while IFS= read -r name; do set -- "$@" "$name"; done <"$work/views"
  [ $# -gt 1 ] || return 0
  if dump --no-data --skip-lock-tables --skip-comments --skip-triggers -- "$@" >"$work/dump" 2>/dev/null; then
    sed '/^\/\*M!999999/d' "$work/dump"
  else
    broken_views "$@"
  fi
}

# The views $2... of the database $1, one of which uses what is gone. Placeholders first: views may use each other.
broken_views() {
  from=$1
  shift
  for name in "$@"; do printf 'create or replace view %s as select 1;\n' "$(quoted "$name")"; done
  for name in "$@"; do
    echo "show create view $(quoted "$name")" | read_sql "$from" >"$work/view" 2>/dev/null || return
    sed -e "1s/^[^$tab]*${tab}CREATE /CREATE OR REPLACE /" -e "\$s/${tab}[^$tab]*${tab}[^$tab]*\$/;/" "$work/view"
  done
}

# A program that was made under another character set than that of its database is dumped between two of these.
without_name() {
  sed 's/^ALTER DATABASE `.*` CHARACTER SET /ALTER DATABASE CHARACTER SET /'
}

without_events() {
  sed '/^\/\*!50106 CREATE\*\/ /s/\(ON COMPLETION \(NOT \)*PRESERVE\) ENABLE/\1 DISABLE/'
}

# Drops what RENAME TABLE refuses, and the events.
strip() {
  read_sql "$1" >"$work/strip" <<'SQL'
select concat('drop view `', replace(table_name, '`', '``'), '`;') from information_schema.views where table_schema = database()
union all select concat('drop trigger `', replace(trigger_name, '`', '``'), '`;')
  from information_schema.triggers where trigger_schema = database()
union all select concat('drop event `', replace(event_name, '`', '``'), '`;') from information_schema.events where event_schema = database();
SQL
  sql "$1" <"$work/strip"
}

# Drops the routines that the database $1 has, and $2 has not.
drop_routines() {
  { echo "set @other = $(literal "$2");" && cat <<'SQL'; } | read_sql "$1" >"$work/routines"
select concat('drop ', routine_type, ' `', replace(routine_name, '`', '``'), '`;') from information_schema.routines
where binary routine_schema = database() and (routine_type, routine_name) not in
  (select routine_type, routine_name from information_schema.routines where binary routine_schema = @other);
SQL
  sql "$1" <"$work/routines"
}

hex() {
  printf "x'%s'" "$(od -An -v -tx1 <"$1" | tr -d ' \n')"
}
part() {
  echo "select body from \`fleet-swap\` where part = '$2'" | read_sql "$1"
}

# Is a swap decided, by a plan in the database $1?
planned() {
  [ -n "$(tables "$1" "= 'BASE TABLE' and table_name = 'fleet-swap'")" ] && [ -n "$(part "$1" old)" ]
}

# Lays the plan into the database $1, for the dump in $2; from the insert on the swap is decided.
plan() {
  programs "$DATABASE_NAME" >"$work/replaced" ||
    die "views, triggers or routines of $DATABASE_NAME cannot be read, see above; it is as it was" "$hint_routines"
  printf '%s' "$1" >"$work/new"
  printf '%s' "$old" >"$work/old"
  {
    echo 'create table `fleet-swap` (part varchar(9) primary key, body longblob) engine=InnoDB;'
    echo "insert into \`fleet-swap\` values ('programs', $(hex "$2/mariadb.programs.sql")), ('settings', $(hex "$2/mariadb.settings.sql")),"
    echo "('replaced', $(hex "$work/replaced")), ('new', $(hex "$work/new")), ('old', $(hex "$work/old"));"
  } >"$work/plan"
  sql "$1" <"$work/plan"
}

# Pairs of RENAME TABLE that move the tables of the database $1 to $2; the plan is moved on its own.
pairs() {
  tables "$1" "not like '%VIEW'" >"$work/tables"
  while IFS= read -r name; do
    [ "$name" = fleet-swap ] || printf ', %s.%s to %s.%s' "$(quoted "$1")" "$(quoted "$name")" "$(quoted "$2")" "$(quoted "$name")"
  done <"$work/tables"
}

# The swap whose plan is in the database $1, from wherever it was killed.
swap() {
  new=$(part "$1" new)
  old=$(part "$1" old)
  strip "$DATABASE_NAME"
  if [ "$1" = "$new" ]; then
    echo "create database if not exists $(quoted "$old") $(settings "$DATABASE_NAME")" | sql ''
    {
      printf 'rename table %s.`fleet-swap` to %s.`fleet-swap`' "$(quoted "$new")" "$(quoted "$old")"
      pairs "$DATABASE_NAME" "$old"
      pairs "$new" "$DATABASE_NAME"
    } >"$work/rename"
    sql '' <"$work/rename" || {
      part "$new" replaced >"$work/replaced"
      sql "$DATABASE_NAME" <"$work/replaced" || die "the tables of $DATABASE_NAME are as they were, not all of its views and triggers; see above"
      drop "$new"
      drop "$old"
      die "$DATABASE_NAME cannot be swapped, see above; it is as it was"
    }
  fi
  echo "alter database $database $(part "$old" settings)" | sql ''
  part "$old" programs >"$work/programs"
  sql "$DATABASE_NAME" <"$work/programs"
  ! exists "$new" || drop_routines "$DATABASE_NAME" "$new"
  # What is kept gets its programs, as far as they work: a failed migration may have left a view of what is gone. No event runs there.
  strip "$old"
  part "$old" replaced | without_events >"$work/replaced"
  if sql "$old" --force <"$work/replaced" 2>"$work/error" && [ ! -s "$work/error" ]; then
    echo 'drop table `fleet-swap`' | sql "$old"
  else
    sed -n '/^ERROR/p' "$work/error"
    echo "so this is not in $old; its table fleet-programs has the SQL"
    echo 'rename table `fleet-swap` to `fleet-programs`' | sql "$old"
  fi
  drop "$new"
}

# Databases called NAME-KIND-ID, all but the $2 newest.
names() {
  echo 'select schema_name from information_schema.schemata' | read_sql '' >"$work/all"
  beyond "$work/all" "$1" "$2"
}

# Finishes what was killed, whichever run that was.
recover() {
  for kind in new old; do names $kind 0; done >"$work/recover"
  while IFS= read -r candidate; do
    if planned "$candidate"; then swap "$candidate"; fi
  done <"$work/recover"
}

abandon_new() {
  drop "$new"
}

# What would stop one of the verbs, one a line, with what to type.
problems() {
  read_sql "$DATABASE_NAME" <<'SQL'
set @me = concat('\'', substring_index(current_user(), '@', 1), '\'@\'', substring_index(current_user(), '@', -1), '\'');
set @role = concat('\'', coalesce(current_role(), ''), '\'@\'\'');
set @pattern = replace(replace(replace(replace(database(), '\\', '\\\\'), '_', '\\_'), '%', '\\%'), '`', '``');
set @grant = concat('as root: grant all on `', @pattern, '`.* to ', @me, '; grant all on `', @pattern, '-%`.* to ', @me);
select 'this server is a replica, which takes no changes\nhint: DATABASE_HOST must be the primary' from dual where @@global.read_only
union all
select concat(current_user(), ' lacks ', group_concat(need.privilege order by 1 separator ', '), ' on ', place.name,
  ', which a restore needs\nhint: ', @grant)
from (select database() as name union all select concat(database(), '-new-20261122-084512-7f3a19c4')) as place,
  (select 'SELECT' as privilege union all select 'INSERT' union all select 'CREATE' union all select 'DROP' union all select 'REFERENCES'
   union all select 'INDEX' union all select 'ALTER' union all select 'LOCK TABLES' union all select 'CREATE VIEW' union all select 'SHOW VIEW'
   union all select 'CREATE ROUTINE' union all select 'ALTER ROUTINE' union all select 'EXECUTE' union all select 'EVENT'
   union all select 'TRIGGER') as need
where not exists (select 1 from information_schema.user_privileges where grantee in (@me, @role) and privilege_type = need.privilege)
  and not exists (select 1 from information_schema.schema_privileges
    where grantee in (@me, @role) and privilege_type = need.privilege and place.name like table_schema)
group by place.name
union all
select concat(min(what), ' is defined by ', definer, ', so ', current_user(), ' cannot restore it\nhint: as root: grant set user on *.* to ', @me)
from (
  select concat('the view ', table_name) as what, definer from information_schema.views where table_schema = database()
  union all select concat('the trigger ', trigger_name), definer from information_schema.triggers where trigger_schema = database()
  union all select concat('the routine ', routine_name), definer from information_schema.routines where binary routine_schema = database()
  union all select concat('the event ', event_name), definer from information_schema.events where event_schema = database()
) as program
where definer <> current_user() and not exists
  (select 1 from information_schema.user_privileges where grantee in (@me, @role) and privilege_type in ('SET USER', 'SUPER'))
group by definer
union all
select 'the server writes a binary log, and only root may make functions and triggers there\nhint: as root: set global log_bin_trust_function_creators = 1'
from dual where @@log_bin and not @@log_bin_trust_function_creators
  and not exists (select 1 from information_schema.user_privileges where grantee in (@me, @role) and privilege_type in ('SUPER', 'BINLOG ADMIN'))
  and (exists (select 1 from information_schema.triggers where trigger_schema = database())
    or exists (select 1 from information_schema.routines where binary routine_schema = database() and routine_type = 'FUNCTION'))
union all
select distinct concat('the foreign key ', constraint_name, ' joins ', table_schema, '.', table_name, ' and ', referenced_table_schema, '.',
  referenced_table_name, ', and would follow what is swapped out\nhint: alter table `', table_schema, '`.`', table_name, '` drop foreign key `', constraint_name, '`')
from information_schema.key_column_usage
where referenced_table_schema <> table_schema and database() in (referenced_table_schema, table_schema)
SQL
}

do_check() {
  [ "$(($(echo "select char_length($is_database)" | read_sql '') + 29))" -le 64 ] ||
    die "the name $DATABASE_NAME is too long: with -old- and the name of a run it must have 64 characters at most"
  exists "$DATABASE_NAME" || die "there is no database $DATABASE_NAME that $(echo 'select current_user()' | read_sql '') may use" \
    "as root: create database $database"
  for kind in new old; do names $kind 0; done >"$work/beside"
  while IFS= read -r name; do
    ! planned "$name" || die "a restore of $DATABASE_NAME was killed during its swap: views and triggers may be missing" \
      "the same restore again, or: $0 prune 1000"
  done <"$work/beside"
  problems >"$work/problems"
  [ ! -s "$work/problems" ] || { cat "$work/problems" >&2 && exit 1; }
  do_schema >/dev/null
  echo "mariadb $(echo "select substring_index(version(), '-', 1)" | read_sql ''), $DATABASE_NAME: $(do_size) MiB"
}

do_size() {
  echo "select round(coalesce(sum(data_length + index_length), 0) / 1048576) from information_schema.tables where table_schema = $is_database" |
    read_sql ''
}

files='mariadb.sql mariadb.programs.sql mariadb.settings.sql'

do_backup() {
  folder=$1
  rm -f -- "$folder/mariadb.sums"
  exists "$DATABASE_NAME" || die "there is no database $DATABASE_NAME"
  # A table without transactions, such as one of MyISAM, is in the same moment only while all are locked.
  read_sql "$DATABASE_NAME" >"$work/moment" <<'SQL'
select 1 from information_schema.tables t join information_schema.engines e on e.engine = t.engine
where table_schema = database() and transactions <> 'YES' limit 1
SQL
  if [ -s "$work/moment" ]; then set -- --lock-tables; else set -- --single-transaction; fi
  [ -z "$(tables "$DATABASE_NAME" "= 'SYSTEM VERSIONED'")" ] || set -- "$@" --dump-history
  settings "$DATABASE_NAME" >"$folder/mariadb.settings.sql"
  programs "$DATABASE_NAME" >"$folder/mariadb.programs.sql" ||
    die "views, triggers or routines of $DATABASE_NAME cannot be dumped, see above" "$hint_routines"
  dump_without_views "$DATABASE_NAME" --skip-triggers "$@" >"$folder/mariadb.sql" || die "the dump of $DATABASE_NAME failed, see above"
  ends_whole "$folder"
  write_sums "$folder" $files
  echo "dumped $DATABASE_NAME: $(($(wc -c <"$folder/mariadb.sql") / 1024)) KiB"
}

ends_whole() {
  case $(tail -n 1 "$1/mariadb.sql") in
  '-- Dump completed'*) ;;
  *) die "the dump $1/mariadb.sql is cut off" ;;
  esac
}

do_verify() {
  check_sums "$1" $files
  ends_whole "$1"
}

do_restore() {
  do_verify "$1"
  recover
  new=$DATABASE_NAME-new-$2
  drop "$new"
  undo=abandon_new
  echo "create database $(quoted "$new") $(cat "$1/mariadb.settings.sql")" | sql ''
  sql "$new" <"$1/mariadb.sql" || die "the dump in $1 cannot be loaded, see above; $DATABASE_NAME is as it was"
  # To see that they can be made: the tables then move without.
  without_events <"$1/mariadb.programs.sql" >"$work/programs"
  sql "$new" <"$work/programs" || die "views, triggers or routines in $1 cannot be loaded, see above; $DATABASE_NAME is as it was"
  strip "$new"
  free_id "$2"
  old=$DATABASE_NAME-old-$free
  plan "$new" "$1"
  undo=
  swap "$new"
  echo "restored $DATABASE_NAME; what was there is $old now"
}

do_point() {
  echo 'no restore point: MariaDB has none that is faster than a restore'
}

do_back() {
  do_restore "$@"
}

# Without what the data decides: counters, and where sequences are.
do_schema() {
  settings "$DATABASE_NAME"
  dump --no-data --skip-lock-tables --skip-comments --routines --triggers --events -- "$DATABASE_NAME" >"$work/schema" ||
    die "the schema of $DATABASE_NAME cannot be dumped, see above" "$hint_routines"
  sed -e '/^\/\*M!999999/d' -e '/^DO SETVAL(/d' -e '/^) ENGINE=/s/ AUTO_INCREMENT=[0-9]*//' "$work/schema" | without_name
}

do_prune() {
  recover
  names old "$1" >"$work/prune"
  # A load that was cut off is of no use.
  names new 0 >>"$work/prune"
  while IFS= read -r name; do
    drop "$name"
    echo "dropped $name"
  done <"$work/prune"
}
