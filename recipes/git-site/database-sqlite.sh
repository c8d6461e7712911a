# SQLite; sourced by database.sh. DATABASE_NAME is the path of the file.
#
# A restore puts the dump beside, as NAME-new-ID, and renames it over NAME: at no moment is there no file of the name. What was there is
# NAME-old-ID, with its -wal and -shm. Processes of the application that still have the file open keep on using what is NAME-old-ID then:
# they must be closed or restarted, which a deployment does.

need sqlite3 'apt-get install sqlite3'
unset SQLITE_HISTORY SQLITE_TMPDIR

# The swap is in the folder of the file itself, when the name is a link. SQLite takes names with these beginnings for something else.
case $DATABASE_NAME in
/*) ;;
*) DATABASE_NAME=$(pwd)/$DATABASE_NAME ;;
esac
DATABASE_NAME=$(readlink -f -- "$DATABASE_NAME") && [ -d "${DATABASE_NAME%/*}/" ] || die "there is no folder for $DATABASE_NAME"
case $verb in
check | size | backup | schema) [ -f "$DATABASE_NAME" ] || die "there is no database file $DATABASE_NAME" "ls -l '${DATABASE_NAME%/*}'" ;;
esac

# Runs statements from standard input in the file $1, without ~/.sqliterc. Without .bail the program continues after an error.
sql() {
  { printf '%s\n' '.bail on' ".timeout $((DATABASE_TIMEOUT * 1000))" && cat; } >"$work/sql"
  sqlite3 -batch -init /dev/null "$1" <"$work/sql"
}

# A name as an argument of a dot command.
argument() {
  printf '"%s"' "$(printf '%s\n' "$1" | sed 's/[\\"]/\\&/g')"
}

# A second name of what is there now is what a call has left that was killed between the renames of below: that is undone.
taken() {
  kept=$DATABASE_NAME-old-$1
  [ -e "$kept" ] || return 1
  [ "$kept" -ef "$DATABASE_NAME" ] || return 0
  [ ! -e "$kept-wal" ] || [ -e "$DATABASE_NAME-wal" ] || mv -f -- "$kept-wal" "$DATABASE_NAME-wal"
  rm -f -- "$kept" "$kept-wal" "$kept-shm"
  return 1
}

# An empty file is a database to SQLite, without a table.
whole() {
  [ "$(dd if="$1" bs=15 count=1 2>/dev/null | tr -d '\000')" = 'SQLite format 3' ] || die "$1 is no SQLite database"
  echo 'pragma integrity_check(5);' | sql "$1" >"$work/integrity" || die "$1 is damaged, see above"
  [ "$(cat "$work/integrity")" = ok ] || { cat "$work/integrity" >&2 && die "$1 is damaged, see above"; }
}

# Ends what a killed application left half written, and brings all of the file -wal into the database; fails while somebody writes.
settle() {
  echo 'begin immediate; commit; pragma wal_checkpoint(truncate);' | sql "$DATABASE_NAME" >"$work/settled" &&
    case $(cat "$work/settled") in '0|'*) ;; *) false ;; esac ||
    die "somebody writes to $DATABASE_NAME; it is as it was" "fuser -v '$DATABASE_NAME'"
}

abandon_new() {
  rm -f -- "$new" "$new-wal" "$new-shm" "$new-journal"
}

do_check() {
  folder=$(dirname -- "$DATABASE_NAME")
  [ -w "$folder" ] || die "$(id -un) cannot write to the folder of the database, $folder" "ls -ld '$folder'"
  [ -r "$DATABASE_NAME" ] && [ -w "$DATABASE_NAME" ] ||
    die "$(id -un) cannot read and write $DATABASE_NAME" "ls -l '$DATABASE_NAME'"
  # The file that a restore makes belongs to who makes it.
  owner=$(ls -ldn -- "$DATABASE_NAME" | awk '{ print $3 }')
  me=$(id -u)
  [ "$me" -eq 0 ] || [ "$me" = "$owner" ] ||
    die "$DATABASE_NAME belongs to the user $owner, and a restored one would be $(id -un)'s" \
      "run the steps as that user: as = \"$(ls -ld -- "$DATABASE_NAME" | awk '{ print $3 }')\""
  whole "$DATABASE_NAME"
  # An old sqlite3 cannot read what a newer library of the application has made: then this fails.
  do_schema >/dev/null
  echo "sqlite $(sqlite3 -version | cut -d' ' -f1), $DATABASE_NAME: $(do_size) MiB"
}

do_size() {
  set -- "$DATABASE_NAME"
  [ ! -f "$DATABASE_NAME-wal" ] || set -- "$@" "$DATABASE_NAME-wal"
  echo "$((($(cat -- "$@" | wc -c) + 524288) / 1048576))"
}

# The transaction holds the state of one moment; without it the copy begins again at each write of the application.
do_backup() {
  rm -f -- "$1/sqlite.sums" "$1/sqlite.db" "$1/sqlite.db-wal" "$1/sqlite.db-shm" "$1/sqlite.db-journal"
  printf '%s\n' 'begin; select count(*) from sqlite_master;' ".backup $(argument "$1/sqlite.db")" |
    sql "$DATABASE_NAME" >/dev/null || die "the dump of $DATABASE_NAME failed, see above"
  whole "$1/sqlite.db"
  write_sums "$1" sqlite.db
  echo "dumped $DATABASE_NAME: $(($(wc -c <"$1/sqlite.db") / 1024)) KiB"
}

do_verify() {
  check_sums "$1" sqlite.db
  whole "$1/sqlite.db"
}

do_restore() {
  do_verify "$1"
  new=$DATABASE_NAME-new-$2
  abandon_new
  undo=abandon_new
  free_id "$2"
  old=$DATABASE_NAME-old-$free
  # Mode and owner first, then the content.
  [ ! -f "$DATABASE_NAME" ] || cp -p -- "$DATABASE_NAME" "$new"
  cat -- "$1/sqlite.db" >"$new" || die "$new cannot be written, see above; $DATABASE_NAME is as it was"
  whole "$new"
  rm -f -- "$new-wal" "$new-shm"
  if [ -f "$DATABASE_NAME" ]; then
    settle
    ln -- "$DATABASE_NAME" "$old" || die "$DATABASE_NAME cannot be kept as $old, see above; it is as it was"
  fi
  for end in -wal -shm; do
    [ ! -e "$DATABASE_NAME$end" ] || mv -f -- "$DATABASE_NAME$end" "$old$end"
  done
  mv -f -- "$new" "$DATABASE_NAME"
  undo=
  echo "restored $DATABASE_NAME; what was there is $old now"
}

do_point() {
  echo 'no restore point: with SQLite a restore is as fast'
}

do_back() {
  do_restore "$@"
}

do_schema() {
  sql "$DATABASE_NAME" <<'SQL'
pragma user_version;
select type, name, tbl_name, sql from sqlite_master where name not like 'sqlite\_stat%' escape '\' order by type, name, tbl_name;
SQL
}

do_prune() {
  for kind in old new; do
    keep=$1
    # A restore that was cut off is of no use.
    [ $kind != new ] || keep=0
    for file in "$DATABASE_NAME-$kind-"*; do
      [ ! -f "$file" ] || printf '%s\n' "$file"
    done >"$work/names"
    beyond "$work/names" $kind "$keep" >"$work/$kind"
    while IFS= read -r name; do
      rm -f -- "$name" "$name-wal" "$name-shm" "$name-journal"
      echo "dropped $name"
    done <"$work/$kind"
  done
}
