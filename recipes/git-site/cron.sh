#!/bin/sh
# Switches the crontab off and on again, byte for byte. cron.sh VERB; FLEET_CRONTAB reads and writes it; empty: there is none.
set -eu
. "$(dirname -- "$0")/common.sh"
crontab=$FLEET_CRONTAB

# The command is the site's, with arguments of its own, such as `sudo crontab -u www-data`.
run_crontab() { eval "$crontab \"\$@\""; }

# Only the plain command has another crontab for each login.
whose=$crontab
[ "$whose" != crontab ] || whose="crontab of $(id -un)"

# Reads the crontab into cron.now; $none when there is none.
cron_read() {
  none=
  if ! (LC_ALL=C; export LC_ALL; run_crontab -l) >"$state/cron.now" 2>"$state/cron.error"; then
    if ! grep -qi -e 'no crontab' -e 'no such file' "$state/cron.error"; then
      cat "$state/cron.error" >&2
      fail 'the crontab cannot be read, see above; it stays as it is'
    fi
    none=yes
    : >"$state/cron.now"
  fi
  rm -f "$state/cron.error"
}

# Gives cron the file $1, and sees that it has it.
cron_write() { run_crontab - <"$1" >&2 && run_crontab -l | cmp - "$1" >&2; }

# A crontab with a line of fleet's that fleet did not write here and now is nobody's own.
refuse_mixed() {
  ! grep '^# Switched off by fleet: ' "$state/cron.now" >&2 ||
    fail 'the crontab has this line, but not from here and now: put the crontab right first' \
      'hint: crontab FILE, with the file that the line names; or crontab -e'
}

is_off() { [ -e "$state/cron.off" ] && run_crontab -l 2>/dev/null | cmp -s - "$state/cron.off"; }

on() {
  if [ ! -e "$state/cron.off" ]; then
    echo 'cron was not switched off here'
    return
  fi
  cron_read
  owner=$whose
  [ ! -e "$state/cron.whose" ] || owner=$(cat "$state/cron.whose")
  if cmp -s "$state/cron.now" "$state/cron.off"; then
    if [ -e "$state/cron.none" ]; then
      run_crontab -r
    elif ! cron_write "$state/cron.saved"; then
      fail "cron does not accept the crontab that is kept in $state/cron.saved; it is off" \
        'hint: give cron a crontab that it accepts, by hand; then again'
    fi
  elif [ "$owner" != "$whose" ]; then
    saved=$(cd -- "$state" && pwd)/cron.saved
    fail "what is switched off is the $owner, and this is the $whose: it stays as it is" \
      "hint: as root: crontab -u ${owner##* } $saved && rm ${saved%.saved}.off"
  elif cmp -s "$state/cron.now" "$state/cron.saved"; then
    echo 'the crontab is back already'
  else
    refuse_mixed
    mv -f "$state/cron.saved" "$state/cron.replaced.$FLEET_RUN"
    echo "somebody wrote a crontab while it was switched off: it stays; the former one is $state/cron.replaced.$FLEET_RUN"
  fi
  rm -f "$state/cron.off" "$state/cron.none" "$state/cron.whose" "$state/cron.now"
}

off() {
  cron_read
  if [ -e "$state/cron.off" ]; then
    # Off already; or what an earlier run left, and a person has dealt with since.
    ! cmp -s "$state/cron.now" "$state/cron.off" || return 0
    on
    cron_read
  fi
  refuse_mixed
  # Before anything changes: what cron would not accept again, such as a last line without its end, is not switched off.
  [ -n "$none" ] || cron_write "$state/cron.now" ||
    fail 'cron does not accept the crontab that it has, see above: so it was not switched off' \
      "hint: crontab -e, and put that right; a copy is $state/cron.now"
  rm -f "$state/cron.none"
  [ -z "$none" ] || : >"$state/cron.none"
  mv -f "$state/cron.now" "$state/cron.saved"
  printf '%s\n' "$whose" >"$state/cron.whose"
  printf '# Switched off by fleet: site %s, run %s. The crontab is kept in %s/cron.saved\n' \
    "$FLEET_SITE" "$FLEET_RUN" "$(cd -- "$state" && pwd)" >"$state/cron.off"
  cron_write "$state/cron.off" || fail 'cron could not be switched off'
}

case $1 in
# Nothing to switch off, or off already.
is-off)
  [ -n "$crontab" ] || exit 0
  [ "$crontab" != crontab ] || command -v crontab >/dev/null 2>&1 || exit 0
  is_off
  ;;
was-off) [ -e "$state/cron.off" ] ;;
off) keep_in "$state"; off ;;
undo-off)
  # What an earlier run left off is not for this one to deal with.
  if grep -qF "run $FLEET_RUN." "$state/cron.off" 2>/dev/null; then
    keep_in "$state"
    on
  else
    echo 'cron was not switched off by this run'
  fi
  ;;
on) keep_in "$state"; on ;;
undo-on)
  # What this run still undoes must not meet a running cron. Somebody may have edited the crontab since.
  keep_in "$state"
  if [ -e "$state/cron.off" ]; then
    cron_read
    cmp -s "$state/cron.now" "$state/cron.saved" || exit 0
  fi
  off
  ;;
esac
