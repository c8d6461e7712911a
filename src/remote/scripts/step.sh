# What the shell of a conversation is taught, so that it can run one step after another: each is started at most once, or watched again. For
# each it then reads assignments and calls fleet_step: _run, _key, _label, _start (`yes`: start it, unless it was), _never (`yes`: if it was
# not started, it never will be), _out and _err (bytes of its output that the controller has), _limit (seconds, or nothing), _grace (tenths
# of a second between TERM and KILL), _spent (keys of steps whose output is on record), those of a book, _seen (the run, if the login user
# has just seen its lock), _effects (what the step leaves in force), _strike (the steps whose effects end when it succeeds), _begin, _found
# and _end (marks), _most (bytes of its report that are read). fleet_command is the step itself.
#
# Descriptors: 3 the leash, on which the controller gives its orders, and 0 the same for this shell; 4 and 5 the output, read at an offset
# that processes share; 6 and 7 the channel. At any time one process reads the channel and writes to it: while a step runs, the leash. A
# shell that has to tell anything but the end of a step that it ran is used up: it exits, and the controller opens another one.

# Says how the step stands, as the last thing on both streams.
fleet_say() {
  # The leash is on its way to say it when a signal bids it to: once is right.
  trap '' TERM
  fleet_close "$_end" "$1"
  exit 0
}

# Copies what is new. When a copy fails, no end mark follows: the controller comes again, and tells how much it has.
fleet_flush() {
  [ ! -s "$_step.out" ] || cat <&4 >&6 || exit 1
  [ ! -s "$_step.err" ] || cat <&5 >&7 || exit 1
}

# Gives what the step has reported about itself, after its output: as much as is read of it. A report that cannot be read is an empty one.
fleet_report() {
  [ -s "$_step.found" ] || [ -h "$_step.found" ] || return 0
  printf '%s 0\n' "$_found" >&6 || exit 1
  # What the step has put in its place is not read, nor waited for.
  [ ! -f "$_step.found" ] || [ -h "$_step.found" ] || dd if="$_step.found" bs="$_most" count=1 >&6
}

# Was there no room when the step ended? Then its end mark is empty, or could not be made. Power loss may leave it empty, too, and one that
# was made just now is about to be written.
fleet_full() {
  [ ! -e "$_step.full" ] || return 0
  [ -s "$_mark" ] || sleep 0.1 || sleep 1
  [ ! -s "$_mark" ]
}

# When the step has ended, says so after the rest of its output.
fleet_ended() {
  for _mark in "$_step".end.*; do
    [ -e "$_mark" ] || return 1
    fleet_flush
    ! fleet_full || echo "fleet: when the step ended there was no room in $_spool, or the host stopped; what it printed or reported may be missing here" >&7
    fleet_report
    for _why in "$_step".stop.*; do
      [ ! -e "$_why" ] || fleet_say "exit ${_mark##*.} ${_why##*.}"
    done
    fleet_say "exit ${_mark##*.}"
  done
}

# Does any of the step's group run? Without setsid there is no group, but its shell. What has ended, and waits for a lazy parent to notice,
# does not count.
fleet_group_runs() {
  kill -0 "-$_group" || kill -0 "$_group" || return 1
  [ -d /proc/self ] || return 0
  for _stat in "/proc/$_group/stat" /proc/[0-9]*/stat; do
    read -r _line <"$_stat" || continue
    set -- ${_line##*") "}
    [ "$1" = Z ] || { [ "$3" != "$_group" ] && [ "$_stat" != "/proc/$_group/stat" ]; } || return 0
  done
  return 1
}

# Waits for the end of the step's group, for so many tenths of a second.
fleet_await_group() {
  _n=0
  while [ $_n -lt "$1" ] && fleet_group_runs; do
    sleep 0.1 || sleep 1
    _n=$((_n + 1))
  done
}

# Ends the step: TERM to its process group, after the grace KILL to what is still there.
fleet_stop() {
  # Later its number may be another's.
  for _mark in "$_step".end.*; do [ ! -e "$_mark" ] || return; done
  true >"$_step.stop.$1"
  fleet_group "$_step.run" && fleet_group_lives "$_run/$_key" || return
  kill -TERM "-$_group" || kill -TERM "$_group"
  kill -CONT "-$_group"
  fleet_await_group $_grace
  ! fleet_group_runs || kill -KILL "-$_group" || kill -KILL "$_group"
}

# For one who did not start the step, which has not ended a moment ago: does it live? When its supervisor is dead, nobody will learn how it
# ends, but nothing may be done beside it.
fleet_watch() {
  _pid=
  read -r _pid _birth _then _ <"$_step.run"
  # Its first line may be about to come.
  [ -n "$_pid" ] || { sleep 0.1 || sleep 1; read -r _pid _birth _then _ <"$_step.run"; }
  [ -z "$_pid" ] || ! fleet_lives "$_pid" "$_birth" "$_then" || return
  [ "$_then" != "$_boot" ] || ! fleet_group "$_step.run" || ! fleet_group_lives "$_run/$_key" || return
  # It may have ended between the two looks.
  fleet_ended
  fleet_flush
  fleet_report
  [ -z "$_pid" ] || [ "$_then" = "$_boot" ] || fleet_say rebooted
  fleet_say gone
}

# Obeys the controller until it goes away, which is nothing to the step. The orders are such that the shell can read what is left of them
# when the step ends, as a command that does nothing: an empty line asks for output, a comment has the step ended.
fleet_leash() {
  # It would bound how long bash and ksh read.
  TMOUT=0
  while read -r _order; do
    case $_order in
    '#') fleet_stop cancel </dev/null >/dev/null 2>&1 3<&- 4<&- 5<&- 6>&- 7>&- & ;;
    '##') fleet_stop idle </dev/null >/dev/null 2>&1 3<&- 4<&- 5<&- 6>&- 7>&- & ;;
    *)
      # Also for one who is told by a signal: dash may lose one that comes while it forks.
      fleet_flush
      fleet_ended
      [ -z "$_watching" ] || fleet_watch
      ;;
    esac
  done
  exit 1
}

# The step cannot be started, and leaves nothing that says it was.
fleet_no_room() {
  rm -f "$_step.run" "$_step.out"
  fleet_say "fault no room on the disk of $1: free some"
}

# The supervisor: runs the step and writes down how it ended.
fleet_supervise() {
  true >"$_step.out" && true >"$_step.err" || fleet_no_room "$_spool, where the output of steps is kept"
  # On the book before it is so.
  [ -z "$_effects" ] || fleet_begin || fleet_no_room "$_book, where the site's state is kept"
  for _file in $_spent; do
    [ ! -s "$_dir/$_file.out" ] || true >"$_dir/$_file.out"
    [ ! -s "$_dir/$_file.err" ] || true >"$_dir/$_file.err"
    rm -rf "$_dir/$_file.found"
  done
  exec 4<"$_step.out" 5<"$_step.err"
  { trap 'fleet_ended; exit' TERM; fleet_leash; } <&3 3<&- &
  _leash=$!
  fleet_birth $_leash
  _leash_birth=$_birth
  _watchdog=
  if [ -n "$_limit" ]; then
    {
      trap 'kill $!; exit' TERM
      sleep "$_limit" &
      # Not every sleep knows fractions.
      wait $! || { sleep $((${_limit%.*} + 1)) & wait $!; }
      trap '' TERM
      fleet_stop timeout
    } </dev/null >/dev/null 3<&- 4<&- 5<&- 6>&- 7>&- &
    _watchdog=$!
  fi
  fleet_command
  _status=$?
  # Of a step that is being ended, more may run than its shell. Nothing is undone before that is over.
  for _why in "$_step".stop.*; do
    [ ! -e "$_why" ] || ! fleet_group "$_step.run" || fleet_await_group $((_grace + 20))
  done
  [ $_status -ne 0 ] || fleet_strike $_strike
  # Where not a byte can be written now, the step's last words may be missing. Another name for a file needs no room.
  echo >"$_step.end.$_status" || [ -e "$_step.end.$_status" ] || { ln "$_step.run" "$_step.full"; mv "$_step.run" "$_step.end.$_status"; }
  [ -z "$_watchdog" ] || kill -TERM $_watchdog
  # A leash that ended hours ago, with its connection, has left its number to others.
  ! fleet_lives $_leash "$_leash_birth" "$_boot" || kill -TERM $_leash
  wait $_leash
  case $? in
  0) ;;
  # TERM came before its trap was set, so it has said nothing. 271 is how ksh counts. Whoever says the end exits, and this shell is to live.
  143 | 271) (fleet_ended) || exit ;;
  # The controller is gone, or could not be told all.
  *) exit ;;
  esac
  # While this shell lives, a step without an end is taken for one that runs.
  [ -e "$_step.end.$_status" ] || exit
  exec 4<&- 5<&-
}

# The step: started, unless it was; then watched.
fleet_step() {
  fleet_open "$_begin"
  _watching=
  _owner=
  _host=${_key%%.*}
  fleet_spool && fleet_book && _dir=$_spool/$_run || fleet_say 'fault no folder for the spool: neither the home folder nor /var/tmp can be written to'
  _step=$_dir/$_key
  if [ -n "$_start" ]; then
    # A shell that was held up may read this when the run is long over, and its lock another's.
    [ -e "$_dir/$_host.boot" ] || fleet_say "fault the run has no folder in $_spool: it is over, or somebody has removed it"
    # Somebody may have taken the lock away, and another run have it. Of a step of another user, who may not be able to see that, the login
    # user has just seen it: _seen is the run.
    [ ! -x "$_book" ] || fleet_holds "$_seen" || fleet_say 'fault the run has no lock there any more: somebody has taken it away'
    [ -s "$_dir/$_host.boot" ] || echo "$_boot" >"$_dir/$_host.boot" || fleet_say "fault no room on the disk of $_spool"
  fi
  [ ! -d "$_dir" ] || fleet_connected
  if [ -n "$_start" ]; then
    fleet_birth $$
    set -C
    { _owner=yes; echo "$$ $_birth $_boot $_label"; } >"$_step.run" || [ -z "$_owner" ] || fleet_no_room "$_spool, where the output of steps is kept"
    set +C
  fi
  if [ -n "$_owner" ]; then
    fleet_supervise
    return
  elif [ -e "$_step.end.absent" ]; then
    fleet_say absent
  elif [ -e "$_step.out" ] || [ -e "$_step.run" ]; then
    _watching=yes
    # Made just after the gate.
    [ -e "$_step.err" ] || sleep 0.1 || sleep 1
    [ -e "$_step.err" ] || fleet_watch
    exec 4<"$_step.out" 5<"$_step.err"
    [ $_out -eq 0 ] || tail -c "+$((_out + 1))" <&4 >&6 || exit 1
    [ $_err -eq 0 ] || tail -c "+$((_err + 1))" <&5 >&7 || exit 1
    fleet_ended
    fleet_watch
    fleet_leash <&3
  elif [ -n "$_start" ]; then
    fleet_say 'fault the spool cannot be written to'
  elif read -r _then <"$_dir/$_host.boot" && [ "$_then" = "$_boot" ]; then
    # Whoever would start it finds that it was. If it was just now, the controller has to ask again.
    [ -z "$_never" ] || { set -C; true >"$_step.run" && true >"$_step.end.absent"; } || exit 1
    fleet_say absent
  else
    fleet_say lost
  fi
  exit
}

_setsid=
command -v setsid && _setsid=setsid
