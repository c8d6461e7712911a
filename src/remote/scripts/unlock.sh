# Takes the lock of a run away, or strikes what it has left in force. Before it come the assignments of a book, _run (whose lock; or nothing),
# _line (for the history) and _strike (names of steps).
fleet_unlock() {
  umask 007
  fleet_spool || exit
  fleet_book
  fleet_read_lock || _holder=
  if [ -n "$_run" ]; then
    [ -f "$_book/lock" ] && [ -z "$_foreign" ] && [ "${_holder:-unnamed}" = "$_run" ] || exit
  elif [ -e "$_book/lock" ]; then
    exit
  fi
  echo "$_line" >>"$_book/history" || exit
  fleet_strike $_strike
  [ -z "$_run" ] || rm -f "$_book/at.$_run".* "$_book/lock" || exit
  echo released
}
