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
    if [ -n "$_pid" ] && fleet_lives "$_pid" "$_birth" "$_then"; then
      echo "running $_label"
    elif [ "$_then" = "$_boot" ]; then
      echo "gone $_label"
    else
      echo "rebooted $_label"
    fi
  done
}

# The lock of the site, and what is known of the run that has it.
fleet_holder() {
  _holder= _then=
  { read -r _holder _rest && read -r _then; } <"$_spool/lock.$_site"
  [ -n "$_holder" ] || return
  echo "holder $_holder $_rest"
  [ -z "$_then" ] || [ "$_then" = "$_boot" ] || echo restarted
  fleet_evidence "$_holder"
}

# What the host has for durable steps.
fleet_ground() {
  echo "spool $_spool"
  df -Pk "$_spool" | { read -r _; read -r _ _ _ _free _; echo "free $_free"; }
  command -v setsid >/dev/null || echo no-setsid
  [ -d /proc/self ] || echo no-proc
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
