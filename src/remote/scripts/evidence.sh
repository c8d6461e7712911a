# What is known on the host of the run $1: is its controller connected, and how do its steps stand?
fleet_evidence() {
  for _file in "$_spool/$1"/*.connection; do
    if read -r _pid _birth _then <"$_file" && fleet_lives "$_pid" "$_birth" "$_then"; then echo connected; break; fi
  done
  for _gate in "$_spool/$1"/*.run; do
    [ -e "$_gate" ] || break
    _file=${_gate%.run}
    for _mark in "$_file".end.*; do :; done
    [ ! -e "$_mark" ] || continue
    _pid=
    read -r _pid _birth _then _label <"$_gate"
    # Its first line may be about to come.
    [ -n "$_pid" ] || { sleep 0.1 || sleep 1; read -r _pid _birth _then _label <"$_gate"; }
    if [ -n "$_pid" ] && fleet_lives "$_pid" "$_birth" "$_then"; then
      echo "running $_label"
    elif [ "$_then" = "$_boot" ] && fleet_group "$_gate" && fleet_group_lives "$1/${_file##*/}"; then
      # Its supervisor is dead, and the step is not.
      echo "running $_label"
    elif [ -z "$_pid" ] || [ "$_then" = "$_boot" ]; then
      echo "gone $_label"
    else
      echo "rebooted $_label"
    fi
  done
}

# What the host has for durable steps.
fleet_ground() {
  echo "spool $_spool"
  # Whoever could move the spool away would let two runs begin.
  set -- "$_spool"
  case $_spool in "$HOME"/*) set -- "$HOME" "$HOME/.local" "$HOME/.local/state" "$_spool" ;; esac
  LC_ALL=C ls -ldLn "$@" | while read -r _mode _ _uid _; do echo "way $_mode $_uid $1"; shift; done
  df -Pk "$_spool" | { read -r _; read -r _ _ _ _free _; echo "free $_free"; }
  command -v setsid >/dev/null || echo no-setsid
  [ -d /proc/self ] || echo no-proc
  # A session that logind knows has a number; asking takes some milliseconds, and most containers have no logind.
  [ -n "$XDG_SESSION_ID" ] || [ -d /run/systemd/system ] || return 0
  command -v busctl >/dev/null || return 0
  case $(busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager KillUserProcesses) in
  "b true") ;;
  *) return 0 ;;
  esac
  if ! command -v systemd-run >/dev/null; then
    echo killed
  elif [ "$(id -u)" = 0 ]; then
    echo scope system
  elif [ "$(loginctl show-user "$(id -un)" --property=Linger --value)" = yes ]; then
    echo scope user
  else
    echo killed
  fi
}
