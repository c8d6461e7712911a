# Read by the other files of this folder: where things lie, and how a step reports. The recipe sets FLEET_SITE, FLEET_RUN and FLEET_STATE.

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

# finding KIND NAME TEXT: a line of the report of this step.
finding() { printf '%s %s -- %s\n' "$1" "$2" "$3" >>"${FLEET_FINDINGS:-/dev/null}"; }

# A command that the site's file sets; `:` means that there is nothing to do.
is_set() { case $1 in '' | :) return 1 ;; esac; }

# Runs one, in a shell of its own in which each failure ends it. By its environment: an argv can be seen by every user of the host.
own() { COMMAND=$1 /bin/sh -ec 'eval "$COMMAND"'; }

# Another text after each start of the host, or of the container that it is. Less where /proc/1 is hidden.
start_of_host() {
  cat /proc/sys/kernel/random/boot_id 2>/dev/null || sysctl -n kern.boottime 2>/dev/null || :
  { sed 's/.*) //' /proc/1/stat | cut -d ' ' -f 20; } 2>/dev/null || :
}

# A worktree, or a submodule, has a file in the place of the folder .git. It names the folder, which is that checkout's own.
place() {
  case $1 in
  .git/*)
    if [ -f .git ]; then
      named=$(sed -n 's/^gitdir: //p' .git)
      set -- "${named:?.git is a file that names no folder}/${1#.git/}"
    fi
    ;;
  esac
  printf '%s\n' "$1"
}

# Two operators with logins of their own continue with what the other one left: where a folder is its group's and hands that on (setgid),
# notes and backups are for that group, who may write to the checkout anyway. Elsewhere the group of a new file is the login's,
# which may be everybody's (`users`): there they are for the login alone.
keep_in() {
  if [ ! -d "$1" ]; then
    keep_in "$(dirname -- "$1")"
    mkdir -p -- "$1"
    # Not every file system hands the setgid bit on by itself.
    [ -z "$shared" ] || chmod g+s -- "$1"
  fi
  case $(ls -ldL -- "$1") in
  d????w[sS]*) shared=yes; umask 007 ;;
  *) shared=; umask 077 ;;
  esac
}

# The notes of deployments: `FORMER DEPLOYED NUMBER`, in a file with the name of the run. Numbered here: the names of runs come from the clocks
# of controllers, and these differ. Sets $last to the run whose note has the greatest number in the folders, with its $former and $deployed.
last_deployment() {
  last= former= deployed= count=0
  for note in "$@"; do
    [ -f "$note" ] || continue
    number=
    read -r replaced brought number <"$note"
    [ "${number:=0}" -ge "$count" ] || continue
    last=${note##*/} former=$replaced deployed=$brought count=$number
  done
}

state=$(place "$FLEET_STATE")
here=$(dirname -- "$0")
