#!/bin/sh
# The database of a site: proves that it can be put back, dumps it, puts it back by swapping, compares its schema.
#
#   database.sh check              can all of the below be done? Changes nothing, and prints version, name and size
#   database.sh size               MiB
#   database.sh backup DIR         dumps into the folder DIR, and proves that the dump can be read
#   database.sh verify DIR         proves that of a dump made earlier
#   database.sh restore DIR ID     loads the dump beside, then swaps by renaming; what was there stays as NAME-old-ID
#   database.sh point ID           a restore point, where that is cheaper than a restore
#   database.sh back DIR ID        what `point ID` kept, else what `backup DIR` did
#   database.sh schema             the same text for the same schema
#   database.sh prune KEEP         drops all but the KEEP newest of NAME-old-ID, and of NAME-point-ID
#
# ID is the name of a run: 20261122-084512-7f3a19c4. What was killed is run again, with the same words: a call looks at what is there,
# does all of its work, and needs nothing from the call that was killed. Two at once is what the lock of fleet rules out.
#
# Environment
#   DATABASE               postgresql, mariadb or sqlite
#   DATABASE_NAME          its name; SQLite: its file
#   DATABASE_HOST          else the client's own default
#   DATABASE_USER          else the client's own default
#   DATABASE_CREDENTIALS   a file with the password (.pgpass; for MariaDB an option file); else the client's own, or PGPASSWORD, MYSQL_PWD
#   DATABASE_POINT_LIMIT   MiB; a larger database gets no restore point (default 1024)
#   DATABASE_TIMEOUT       seconds that a swap waits for others to give up their locks (default 60)
set -eu
LC_ALL=C
export LC_ALL
umask 077

die() {
  printf '%s\n' "$1" >&2
  [ -z "${2-}" ] || printf 'hint: %s\n' "$2" >&2
  exit 1
}

usage() {
  printf '%s\n' "$1" "hint: sed -n 2,26p '$0'" >&2
  exit 2
}

# What an end before its time must put right; run by whatever ends the script, save kill -9.
undo=
work=
leave() {
  status=$?
  trap - EXIT
  trap '' HUP INT TERM
  [ -z "$undo" ] || ($undo) || :
  [ -z "$work" ] || rm -rf -- "$work"
  exit "$status"
}
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Intermediate files: a pipe would hide that its first command failed.
work=$(mktemp -d)

is_id() {
  case $1 in
  [0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]-[0-9][0-9][0-9][0-9][0-9][0-9]-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]) ;;
  *) return 1 ;;
  esac
}

# The ID under which what is there now can be kept: the run's own, or when that is taken (the run was killed after its swap, or swaps a
# second time) the next one. `taken ID` is the database's own.
free_id() {
  free=$1
  while taken "$free"; do
    free=${free%-*}-$(printf '%08x' "$(((0x${free##*-} + 1) & 0xffffffff))")
  done
}

# Of the names NAME-KIND-ID in the file $1, those beyond the $3 newest of the kind $2.
beyond() {
  while IFS= read -r name; do
    case $name in "$DATABASE_NAME-$2-"*) ;; *) continue ;; esac
    ! is_id "${name#"$DATABASE_NAME-$2-"}" || printf '%s\n' "$name"
  done <"$1" | sort -r | tail -n +"$(($3 + 1))"
}

need() {
  command -v "$1" >/dev/null 2>&1 || die "there is no $1 here, on the database host" "$2"
}

# A dump is whole when its sums, which are written last, are those of its files.
write_sums() {
  (cd -- "$1" && shift && cksum "$@") >"$1/$DATABASE.sums.new"
  mv -f -- "$1/$DATABASE.sums.new" "$1/$DATABASE.sums"
}
check_sums() {
  [ -f "$1/$DATABASE.sums" ] || die "there is no complete dump of $DATABASE in $1"
  (cd -- "$1" && shift && cksum "$@") >"$work/sums" 2>/dev/null || die "the dump in $1 lacks a file"
  cmp -s "$work/sums" "$1/$DATABASE.sums" || die "the dump in $1 is damaged: its checksums differ"
}

[ $# -gt 0 ] || usage 'which verb?'
verb=$1
shift
case $verb in
check | size | schema) [ $# -eq 0 ] || usage "$verb takes nothing" ;;
backup | verify) [ $# -eq 1 ] || usage "$verb takes a folder" ;;
restore | back)
  [ $# -eq 2 ] || usage "$verb takes a folder and an ID"
  is_id "$2" || usage "$2 is no name of a run"
  ;;
point)
  [ $# -eq 1 ] || usage 'point takes an ID'
  is_id "$1" || usage "$1 is no name of a run"
  ;;
prune)
  [ $# -eq 1 ] || usage 'prune takes a number'
  case $1 in '' | *[!0-9]* | 0?* | ??????*) usage "$1 is no number of databases to keep" ;; esac
  ;;
*) usage "there is no verb $verb" ;;
esac
case $verb in
backup | verify | restore | back)
  [ -d "$1" ] || die "there is no folder $1"
  # A folder that its group shares is for the next operator, too.
  case $(ls -ldL -- "$1") in d????w[sS]*) umask 007 ;; esac
  set -- "$(cd -- "$1" && pwd)" "${2-}"
  ;;
esac

: "${DATABASE=}" "${DATABASE_NAME=}" "${DATABASE_HOST=}" "${DATABASE_USER=}" "${DATABASE_CREDENTIALS=}"
: "${DATABASE_POINT_LIMIT:=1024}" "${DATABASE_TIMEOUT:=60}"
case $DATABASE_POINT_LIMIT$DATABASE_TIMEOUT in *[!0-9]*) usage 'DATABASE_POINT_LIMIT and DATABASE_TIMEOUT are numbers' ;; esac
case $DATABASE in
postgresql | mariadb | sqlite) ;;
*) usage "DATABASE is '$DATABASE', and not postgresql, mariadb or sqlite" ;;
esac
case $DATABASE_NAME in
'') usage 'DATABASE_NAME is not set' ;;
*[[:cntrl:]]*) usage 'DATABASE_NAME holds a control character' ;;
esac
if [ -n "$DATABASE_CREDENTIALS" ] && [ "$DATABASE" != sqlite ]; then
  [ -f "$DATABASE_CREDENTIALS" ] && [ -r "$DATABASE_CREDENTIALS" ] ||
    die "there is no file with the password that $(id -un) can read: $DATABASE_CREDENTIALS" "ls -l '$DATABASE_CREDENTIALS'"
  case $(ls -ldL -- "$DATABASE_CREDENTIALS") in
  ????------*) ;;
  *) die "others can read the file with the password, $DATABASE_CREDENTIALS" "chmod 600 '$DATABASE_CREDENTIALS'" ;;
  esac
fi

. "$(dirname -- "$0")/database-$DATABASE.sh"
"do_$verb" "$@"
