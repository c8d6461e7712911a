#!/bin/sh
# Backups of the database, each a folder with the name of the run that made it. backup.sh VERB ARGUMENTS
# By the site's own commands, FLEET_BACKUP, FLEET_RESTORE and FLEET_SCHEMA, or, with FLEET_DATABASE, by database.sh. A recipe that extends this
# one names its own program in its place, with the same verbs: FLEET_DATABASE_HELPER, below FLEET_FILES.
set -eu
. "$(dirname -- "$0")/common.sh"
folder=$(place "$FLEET_BACKUP_DIR")

has_backup() { [ -n "$FLEET_DATABASE" ] || is_set "$FLEET_BACKUP"; }
has_schema() { [ -n "$FLEET_DATABASE" ] || is_set "$FLEET_SCHEMA"; }
database() {
  DATABASE=$FLEET_DATABASE DATABASE_NAME=$FLEET_DATABASE_NAME DATABASE_HOST=$FLEET_DATABASE_HOST DATABASE_USER=$FLEET_DATABASE_USER \
    DATABASE_CREDENTIALS=$FLEET_DATABASE_CREDENTIALS "$FLEET_FILES/${FLEET_DATABASE_HELPER:-git-site/database.sh}" "$@"
}
checksum() { eval "$FLEET_CHECKSUM \"\$@\""; }

# A command of the site's own wins.
dump() {
  if is_set "$FLEET_BACKUP"; then BACKUP=$1 && export BACKUP && own "$FLEET_BACKUP"; elif [ -n "$FLEET_DATABASE" ]; then database backup "$1"; fi
}
load() {
  if is_set "$FLEET_RESTORE"; then BACKUP=$1 && export BACKUP && own "$FLEET_RESTORE"; elif [ -n "$FLEET_DATABASE" ]; then database "$2" "$1" "$FLEET_RUN"; fi
}
# Without the lines of pg_dump that are random.
schema() {
  if is_set "$FLEET_SCHEMA"; then own "$FLEET_SCHEMA" >"$1.new"; else database schema >"$1.new"; fi
  sed -e '/^\\restrict /d' -e '/^\\unrestrict /d' <"$1.new" >"$1"
  rm -f -- "$1.new"
}

# All whole backups, the oldest first. A name with a dot is none.
whole() { for sums in "$folder"/*/SHA256SUMS; do [ ! -f "$sums" ] || basename -- "$(dirname -- "$sums")"; done | grep -v '[.]' | sort; }
verify() { (cd -- "$folder/$1" && checksum -c SHA256SUMS >/dev/null); }

# The schema is that of the commit $1. The file may be another operator's.
migrated() {
  keep_in "$state"
  echo "$1" >"$state/migrated.new"
  mv -f -- "$state/migrated.new" "$state/migrated"
}

room() {
  at=$folder
  while [ ! -d "$at" ]; do at=$(dirname -- "$at"); done
  [ -w "$at" ] || fail "backups cannot be written in $at"
  free=$(df -Pk "$at" | awk 'NR == 2 { print int($4 / 1024) }') want=$FLEET_BACKUP_FREE
  [ -z "$FLEET_DATABASE" ] || want=$((want + $(database size)))
  [ "$free" -ge "$want" ] || fail "$at has $free MiB left: $want are wanted before a backup (variable backup-free, and the database)"
}

make() {
  room
  keep_in "$folder"
  folder=$(cd -- "$folder" && pwd)
  made=$folder/$FLEET_RUN
  [ ! -e "$made" ] || fail "$made is there already"
  rm -rf -- "$made.partial"
  keep_in "$made.partial"
  dump "$made.partial"
  printf 'site %s\nhost %s\nrun %s\nrevision %s\n' "$FLEET_SITE" "$1" "$FLEET_RUN" "$(git rev-parse HEAD)" >"$made.partial/about"
  ! has_schema || schema "$made.partial/about.schema"
  (cd -- "$made.partial" && find . -type f ! -name SHA256SUMS -exec /bin/sh -c "$FLEET_CHECKSUM \"\$@\"" checksum {} + >SHA256SUMS)
  # A backup has its name only when it is whole.
  mv -- "$made.partial" "$made"
  echo "backup $made, $(du -sk "$made" | cut -f 1) KiB"
}

# Verifies the backup $1 before anything is changed, and compares the schema afterwards. $2: `restore`, or `back` to the state that this run found.
put_back() {
  folder=$(cd -- "$folder" && pwd)
  from=$folder/$1
  [ -f "$from/SHA256SUMS" ] || fail "there is no complete backup $from"
  ls -A "$from" | grep -qvx -e about -e about.schema -e SHA256SUMS ||
    fail "the backup $from is empty: the variable backup copies nothing"
  verify "$1" || fail "the backup $from is damaged; nothing was restored"
  load "$from" "$2"
  migrated "$(sed -n 's/^revision //p' "$from/about")"
  if [ ! -f "$from/about.schema" ] || ! has_schema; then
    echo "restored $from"
    return
  fi
  schema "$from.schema"
  cmp -s "$from/about.schema" "$from.schema" ||
    fail "the restore did not give back the schema of $from/about.schema; now it is $from.schema:" \
      "$(command diff "$from/about.schema" "$from.schema" | head -n 7)" \
      'hint: what the variable restore does must remove what the backup does not know, too'
  rm -f -- "$from.schema"
  echo "restored $from; the schema is that of the backup"
}

# A failed migration. When the canary was open already, somebody may have entered something: so what is there is kept aside, if that
# can be done at all. database.sh keeps the whole database that it swaps out.
undo_migration() {
  if ! is_set "$FLEET_RESTORE" && [ -n "$FLEET_DATABASE" ]; then
    put_back "$FLEET_RUN" back
    return
  fi
  keep_in "$folder"
  folder=$(cd -- "$folder" && pwd)
  keep_in "$folder/$FLEET_RUN.undone"
  if dump "$folder/$FLEET_RUN.undone"; then
    echo "the database as the failed run left it is kept in $folder/$FLEET_RUN.undone"
  else
    echo "warning: the database as the failed run left it could not be kept in $folder/$FLEET_RUN.undone"
  fi
  put_back "$FLEET_RUN" restore
}

# Does a rollback of the deployment $1 put its backup back? `each` host rolls back alone where only code does. $2: `yes` keeps the data.
rollback() {
  if [ "$2" = yes ]; then
    finding warning keep-data 'the data stays as it is, with the schema that it has now'
    echo each
  elif [ ! -e "$folder/$1" ] && [ ! -e "$state/former/$1.migrated" ]; then
    echo each
  elif [ ! -f "$folder/$1/SHA256SUMS" ] || ! verify "$1"; then
    fail "the deployment $1 migrated the database, and its backup $folder/$1 is not there or not whole" \
      'hint: -e keep-data=yes rolls back the code alone'
  elif same_schema "$1"; then
    finding notice data 'the schema is that of before the deployment: only the code is rolled back, and the data stays as it is'
    echo each
  else
    finding warning data "the data goes back to that of before run $1; what was entered since is kept only in the backup that this run makes"
    echo all
  fi
}

# Is the schema as it was when the backup $1 was made? Where that is not known, it is not.
same_schema() {
  [ -f "$folder/$1/about.schema" ] && has_schema || return 1
  keep_in "$state"
  schema "$state/schema.now"
  cmp -s "$folder/$1/about.schema" "$state/schema.now"
}

choose() {
  [ -z "$1" ] || [ ! -f "$folder/$1/SHA256SUMS" ] || return 0
  # No more lines than the table shows of a failed step, the question last.
  fail "${1:+no whole backup is called $1; }the newest are:" "$(ls "$folder" | grep -v '[.]' | sort -r | head -n 8)" \
    'which backup? say -e backup-id=RUN'
}

# Removes the oldest beyond the $1 newest whole ones. The last one that verifies stays, what the last deployment goes back to, and the one in $2.
prune() {
  last_deployment "$state"/deploys/*
  good=
  for name in $(whole | sort -r); do ! verify "$name" || { good=$name; break; }; done
  [ -n "$good" ] || { finding warning - "no backup in $folder is whole: nothing is pruned"; return 0; }
  whole | sort -r | tail -n +$(($1 + 1)) | while IFS= read -r name; do
    [ "$name" != "$good" ] && [ "$name" != "$last" ] && [ "$name" != "$2" ] || continue
    rm -rf -- "$folder/$name" "$folder/$name.undone" "$folder/$name.schema"
    echo "pruned backup $name"
  done
  [ -z "$FLEET_DATABASE" ] || database prune "$1"
}

# Before anything closes.
ready() {
  case $1 in '' | *[!0-9]*) fail "the variable keep is a number of backups, and not '$1'" ;; esac
  if [ -n "$FLEET_DATABASE" ]; then
    database check
  elif is_set "$FLEET_SCHEMA"; then
    own "$FLEET_SCHEMA" >/dev/null || fail 'the variable schema fails, see above'
  fi
  room
  newest=$(whole | tail -n 1)
  [ -z "$newest" ] || verify "$newest" || finding warning backup "the newest backup, $newest, is damaged"
}

verb=$1
shift
case $verb in
make) make "$1" ;;
undo-make) rm -rf -- "$folder/$FLEET_RUN.partial" ;;
point) [ -z "$FLEET_DATABASE" ] || is_set "$FLEET_RESTORE" || database point "$FLEET_RUN" ;;
migrates) keep_in "$state/former"; : >"$state/former/$FLEET_RUN.migrated" ;;
migrated) migrated "$(git rev-parse HEAD)" ;;
undo-migration) undo_migration ;;
# A deployment is its run and two commits.
restore) put_back "${1%% *}" restore ;;
undo-restore) put_back "$FLEET_RUN" back ;;
rollback) rollback "${1%% *}" "$2" ;;
choose) choose "$1"; cd -- "$folder/$1"; checksum -c SHA256SUMS; cat about ;;
prune) prune "$1" "$2" ;;
ready) ready "$1" ;;
esac
