#!/bin/sh
# What a deployment notes on each host, and what a rollback reads of it. deployments.sh VERB ARGUMENTS
set -eu
. "$(dirname -- "$0")/common.sh"

# Before the checkout: which commit $1 replaces here. Rolled-back ones count, too: undoing a rollback brings their notes back.
note() {
  keep_in "$state/deploys"
  last_deployment "$state"/deploys/* "$state"/rolled-back/*
  echo "$(git rev-parse HEAD) $1 $((count + 1))" >"$state/deploys/$FLEET_RUN"
}

# `RUN FORMER DEPLOYED` of the last one; $1 where what this host runs came without a deployment of its own.
last() {
  last_deployment "$state"/deploys/*
  if [ -n "${1-}" ] && [ "$deployed" != "$(git rev-parse HEAD)" ]; then
    echo "$1"
    return
  fi
  [ -n "$last" ] || fail 'no deployment is left to roll back'
  echo "$last $former $deployed"
}

# Can this host go back over the deployment `RUN FORMER DEPLOYED`? A host that got its release later, because it was down, belongs to it;
# one that dropped out is back already.
belongs() {
  run=$1 from=$2 to=$3 head=$(git rev-parse HEAD)
  last_deployment "$state"/deploys/*
  [ "$head" != "$from" ] || [ "$deployed" = "$to" ] || return 0
  [ "$deployed" = "$to" ] ||
    fail "the last deployment here was ${last:-none}, to ${deployed:-nothing}; elsewhere it was $run, to $to" \
      'hint: roll back the later one first, on its own hosts: --limit HOST'
  [ "$head" = "$to" ] || [ "$head" = "$from" ] ||
    fail "the checkout was moved since: it is at $head, the last deployment left it at $to"
  git cat-file -e "$from^{commit}" 2>/dev/null ||
    fail "the commit $from, to which this would go back, is not here any more"
}

# What a rollback changes here, in a line.
change() {
  when=$(printf '%s\n' "$1" | sed -n 's/^\(....\)\(..\)\(..\)-\(..\)\(..\).*/\1-\2-\3 \4:\5/p')
  data=
  [ "$4" != all ] || data="; data of $when UTC, what was entered since only in the backup of this run"
  echo "$(git log -1 --format=%h)..$(git log -1 --format='%h %s' "$2")$data"
}

rolled_back() {
  last_deployment "$state"/deploys/*
  [ "$deployed" = "$3" ] || return 0
  keep_in "$state/rolled-back"
  keep_in "$state/former"
  echo "$last" >"$state/former/$FLEET_RUN.rolled-back"
  mv -- "$state/deploys/$last" "$state/rolled-back/$last"
}

undo_rolled_back() {
  moved=$(cat "$state/former/$FLEET_RUN.rolled-back" 2>/dev/null) || return 0
  [ ! -e "$state/rolled-back/$moved" ] || mv -- "$state/rolled-back/$moved" "$state/deploys/$moved"
}

# At the end: this host runs what is checked out. Notes of what the checkout was are kept for the last hundred runs.
current() {
  keep_in "$state/former"
  [ -e "$state/former/$FLEET_RUN.current" ] || cat "$state/current" >"$state/former/$FLEET_RUN.current" 2>/dev/null || :
  git rev-parse HEAD >"$state/current.new"
  mv -f -- "$state/current.new" "$state/current"
  ls "$state/former" | sed 's/[.].*//' | sort -ru | tail -n +101 | while IFS= read -r run; do
    rm -f -- "$state/former/$run" "$state/former/$run".*
    git update-ref -d "refs/fleet/former/$run"
  done
}

undo_current() {
  former=$state/former/$FLEET_RUN.current
  keep_in "$state"
  rm -f -- "$state/current"
  [ ! -s "$former" ] || cat "$former" >"$state/current"
}

status() {
  head=$(git rev-parse HEAD)
  current=$(cat "$state/current" 2>/dev/null) || current=
  echo "release $(git log -1 --format='%h %s' HEAD)"
  [ "$head" = "$current" ] || echo "not deployed to its end: the last release that was is ${current:-unknown}"
  last_deployment "$state"/deploys/*
  [ -z "$last" ] || echo "last deployment $last: $(echo "$former" | cut -c 1-7)..$(echo "$deployed" | cut -c 1-7)"
  [ ! -e "$1" ] || echo 'closed for visitors'
  [ ! -e "$state/cron.off" ] || echo 'cron is off'
}

verb=$1
shift
case $verb in
note) note "$1" ;;
undo-note) rm -f -- "$state/deploys/$FLEET_RUN" ;;
last) last "${1-}" ;;
# A run, and two commits: words.
belongs) belongs $1 ;;
change) change $1 "$2" ;;
rolled-back) rolled_back $1 ;;
undo-rolled-back) undo_rolled_back ;;
current) current ;;
undo-current) undo_current ;;
status) status "$1" ;;
esac
