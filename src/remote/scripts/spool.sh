# What fleet's scripts on a host share, and the beginning of every conversation: a shell that is taught functions, each once, and then reads
# one question or step after another. Lines that begin with # are not sent. Names begin with _: an exported variable of the same name
# would come out changed in the step.
#
# Descriptors: 3 and 0 what the controller says; 6 and 7 the channel. A question is one compound command in a subshell, whose standard output
# is the channel: it may exit, and what it sets is forgotten.
#
# The spool is a folder of the login user, or of the user whom a step runs as. Hosts of a run may share it: one machine under two
# names, a home folder on NFS. So all names in a run's folder begin with the number of a host, as KEY does, and what a host leaves behind is
# removed without touching the others. In the spool:
#   RUN/HOST.boot     the boot id at which the run came to the host. If it is that of now, nothing of the host's files is lost. Empty: some
#                     were. Without it, no step starts
#   RUN/KEY.run       the step was started: supervisor's pid, its start time, boot id, the step's name. Made with O_EXCL. The
#                     second line is the step's process group, and what /proc said then of its first process
#   RUN/KEY.out .err  what it printed
#   RUN/KEY.found     what it reported about itself: the step makes it when it has something to report
#   RUN/KEY.stop.WHY  it is being ended: timeout, idle, cancel
#   RUN/KEY.full      there was no room when it ended, not even for the next file
#   RUN/KEY.end.N     it ended with status N: a name, for a full disk has room for a name when it has none for a byte. Empty: it had none
#   RUN/KEY.end.absent  it was not started, and never will be
# A step makes four files, and with them, on ext4, half of what it costs: so there is no file for what finds room in another.
#   RUN/HOST.files    the files of the recipe (files.sh)
#   RUN/HOST.connection  the server process of the controller's last connection, in the spool of a user who may not write to the book
#   book.SITE, site.SITE  the book of a site, or where it is (book.sh)

# Sets $_boot: what a reboot changes.
fleet_boot() {
  _boot=
  read -r _boot </proc/sys/kernel/random/boot_id || _boot=$(sysctl -n kern.boottime | tr -dc 0-9)
  [ -n "$_boot" ] || _boot=-
}

# Sets $_birth, the start time of a process: a number that came back is another process. `-` where there is no /proc.
fleet_birth() {
  _birth=-
  [ -d /proc/self ] || return 0
  _birth=
  read -r _birth <"/proc/$1/stat" || return 1
  _birth=${_birth##*") "}
  set -- $_birth
  # It has ended, and only its parent has not noticed.
  case $1 in Z | X) return 1 ;; esac
  shift 19
  _birth=$1
}

# Is the process of that pid, start time and boot id still there?
fleet_lives() {
  [ "$3" = "$_boot" ] || return 1
  if [ "$2" = - ]; then kill -0 "$1"; else fleet_birth "$1" && [ "$_birth" = "$2" ]; fi
}

# Sets $_spool, and makes the folder if need be: in the home folder, else where it outlives a reboot, too.
fleet_spool() {
  if [ -n "$HOME" ]; then
    _spool=$HOME/.local/state/fleet
    [ -d "$_spool" ] || (umask 077; mkdir -p "${_spool%/*}" && mkdir "$_spool")
    [ -O "$_spool" ] && [ -w "$_spool" ] && return
  fi
  _spool=/var/tmp/fleet-$(id -u)
  [ -d "$_spool" ] || (umask 077; mkdir "$_spool")
  # All may write to /var/tmp: what somebody else put there is not ours.
  [ -O "$_spool" ] && [ -w "$_spool" ] && [ ! -h "$_spool" ]
}

# Sets $_server, the server process of this connection: above the shells, and the sudo, through which a command runs. While it lives, so
# does the controller.
fleet_server() {
  _server= _up=$PPID
  fleet_birth "$_up" || return
  _server="$_up $_birth $_boot"
  [ "$_birth" != - ] || return 0
  while [ "$_up" -gt 1 ] && read -r _line <"/proc/$_up/stat"; do
    _comm=${_line#*"("}
    _comm=${_comm%")"*}
    set -- ${_line##*") "}
    _server="$_up ${20} $_boot" _up=$2
    case $_comm in *sh | busybox | sudo | su | doas) ;; *) return ;; esac
  done
}

# Notes which connection the controller has.
fleet_connected() {
  fleet_server
  _at=$_book/at.$_run.$_host
  [ -w "$_at" ] || _at=$_dir/$_host.connection
  _noted=
  read -r _noted <"$_at"
  [ "$_noted" = "$_server" ] || echo "$_server" >"$_at"
}

# Sets $_group, the process group of the step whose gate is $1, and $_since, when its first process began: `-` where there is no /proc. Its
# shell may be about to write that down.
fleet_group() {
  for _n in 1 2 3 4 5 6 7 8 9 10; do
    _group= _since=
    { read -r _ && read -r _group _since; } <"$1"
    [ -z "$_group" ] || break
    sleep 0.1 || sleep 1
  done
  [ -n "$_group" ] || return 1
  set -- ${_since##*") "}
  [ $# -lt 20 ] || shift 19
  _since=${1:--}
}

# Does the step $1 (RUN/KEY) run in that group? Its supervisor may be dead, and the number another's: so the first process is still the one
# of then, or one of the group has the step in its environment. Who has neither is not seen: better than to end what is a stranger's.
fleet_group_lives() {
  _name=FLEET_STEP=$1
  if [ "$_since" = - ]; then kill -0 "-$_group" || kill -0 "$_group"; return; fi
  ! fleet_birth "$_group" || [ "$_birth" != "$_since" ] || return 0
  kill -0 "-$_group" || return 1
  for _stat in /proc/[0-9]*/stat; do
    read -r _line <"$_stat" || continue
    set -- ${_line##*") "}
    [ "$3" = "$_group" ] || continue
    case $1 in Z | X) continue ;; esac
    ! tr '\0' '\n' <"${_stat%stat}environ" | grep -qxF "$_name" || return 0
  done
  return 1
}

# The marks of a question or a step: $1, and for the end what it came to. The first one on standard error is there before any on standard output.
fleet_open() {
  printf '%s %s\n' "$1" $$ >&7
  printf '%s %s\n' "$1" $$ >&6
}
fleet_close() {
  printf '%s %s\n' "$1" "$2" >&6
  printf '%s %s\n' "$1" "$2" >&7
}

exec 3<&0 6>&1 7>&2 >/dev/null 2>&1
# Caught, not ignored: what is ignored here would be ignored in the steps, too.
trap : HUP INT QUIT TERM PIPE
# Of the login: `cd` would go elsewhere, `grep` find something else.
unset CDPATH GREP_OPTIONS BASH_ENV
fleet_boot
