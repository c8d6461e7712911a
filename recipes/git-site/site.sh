#!/bin/sh
# The running site: its restart, its health, and what its commands need on this host. site.sh VERB ARGUMENTS
# FLEET_RESTART, FLEET_HEALTH, ... are the commands that the site's file sets.
set -eu
. "$(dirname -- "$0")/common.sh"
restarted=$state/former/$FLEET_RUN.restarted

healthy() {
  ! is_set "$FLEET_HEALTH" || until own "$FLEET_HEALTH"; do
    tries=$((${tries:-0} + 1))
    [ "$tries" -lt 10 ] || fail 'the former code is back and was restarted, but the site is not healthy'
    sleep 1
  done
}

# The code that is back in the checkout runs again. What was not restarted is not restarted for nothing: that may be just what does not work.
# A host that was started again meanwhile has restarted it, from a checkout that was just changing.
again() {
  if [ ! -e "$restarted" ] && ! started_again; then
    echo 'nothing was restarted'
    [ "$1" = all ] || ! is_set "$FLEET_HEALTH" || own "$FLEET_HEALTH" ||
      finding warning health 'nothing was restarted, but the site is not healthy with the code that it had before'
  elif [ "$1" = all ]; then
    ! is_set "$FLEET_RESTART" || own "$FLEET_RESTART" ||
      echo 'warning: the restart failed: perhaps the new code is still running, behind the maintenance page'
  else
    ! is_set "$FLEET_RESTART" || own "$FLEET_RESTART"
    healthy
  fi
}

# Since this run has touched the checkout.
started_again() {
  [ -e "$state/former/$FLEET_RUN.start" ] && [ "$(cat "$state/former/$FLEET_RUN.start")" != "$(start_of_host)" ]
}

### What a command of the site's needs: a sudo rule, and its program. Only what is written plainly is understood.

# The commands in a shell text, a line each, without redirections and assignments before them.
commands_in() {
  printf '%s\n' "$1" | sed -e 's/[0-9]*[<>][<>&]*  *[^ ;|&]*//g' -e 's/[0-9]*[<>][<>&]*[^ ;|&]*//g' | tr ';|&' '\n\n\n' |
    sed -e 's/^[[:space:]!]*//' -e 's/[[:space:]]*$//' -e ':a' -e 's/^[A-Za-z_][A-Za-z0-9_]*=[^ ]* //' -e 'ta' -e '/^$/d'
}

# Would sudo run it without asking for a password? `sudo -l COMMAND` alone says yes for what needs one, too, as soon as another rule needs none.
# The last rule that fits decides.
without_password() {
  LC_ALL=C
  export LC_ALL
  resolved=$(sudo -n -l "$@" 2>/dev/null) || return 1
  [ "$(id -u)" -ne 0 ] || return 0
  sudo -n -ll 2>/dev/null | (
    default=yes asks=yes verdict=yes
    while IFS= read -r line; do
      case $line in
      '    '*'Options:'*'!authenticate'*) asks=no ;;
      '    '*'!authenticate'*) default=no ;;
      *'entry:'* | *'Role:'*) asks=$default ;;
      "$tab"*)
        rule=${line#"$tab"}
        [ "$rule" != ALL ] || rule='*'
        # A rule without arguments is for all of them.
        case "$resolved " in $rule\ *) verdict=$asks ;; esac
        ;;
      esac
    done
    [ "$verdict" = no ]
  )
}

sudo_rule() {
  name=$1 line=$2
  set -f
  set -- ${line#sudo}
  set +f
  user=root
  while :; do
    case ${1-} in
    -u) user=${2-}; shift 2 || return 0 ;;
    --user=*) user=${1#--user=}; shift ;;
    -n | -E | -H | --) shift ;;
    -*) return 0 ;;
    *) break ;;
    esac
  done
  [ $# -gt 0 ] || return 0
  command -v sudo >/dev/null || fail "the variable $name runs sudo, which is not on this host"
  without_password -u "$user" "$@" || fail "the variable $name runs: $line" \
    "and sudo would ask $(id -un) for a password, or refuse it" \
    "hint: visudo -f /etc/sudoers.d/$(id -un), with the line: $(id -un) ALL=($user) NOPASSWD: $(command -v "$1" || echo "$1")$(shift; [ $# -eq 0 ] || printf ' %s' "$*")"
}

needs() {
  name=$1
  commands_in "$2" | while IFS= read -r line; do
    case $line in
    *[\'\"\\\`\$\*\?\[\(\)\{\}\#~]*) continue ;;
    sudo' '*)
      # A rule may allow just what the crontab is called with.
      if [ "$name" = crontab ]; then
        called=$line
        for how in -l -; do sudo_rule "$name" "$called $how"; done
      else
        sudo_rule "$name" "$line"
      fi
      ;;
    */*)
      # The release may bring what lies in the checkout.
      program=${line%% *}
      case $program in /*) ;; *) continue ;; esac
      [ -x "$program" ] || fail "the variable $name runs $program, which is not on this host"
      ;;
    *)
      case $2 in *[\'\"\\\`\(]* | *'<<'* | *case\ *) continue ;; esac
      command -v "${line%% *}" >/dev/null || fail "the variable $name runs ${line%% *}, which is not on this host"
      ;;
    esac
  done
}

tab=$(printf '\t')
verb=$1
shift
case $verb in
restarts) keep_in "$state/former"; : >"$restarted" ;;
again) again "${1-}" ;;
needs)
  for name in "$@"; do
    eval "command=\${FLEET_$(printf '%s' "$name" | tr 'a-z-' 'A-Z_')-}"
    ! is_set "$command" || needs "$name" "$command"
  done
  ;;
esac
