# The run is over on the host. Before it come assignments: _run, _host (its number in the run), _site, _line (for the history), _keep
# (`yes`: it may go on some day, so what it left stays until another run comes), _sequence (the run's number) and what it has proven:
# _proven (the variable, if it is any), _value, _by, _also (the other variables, words `NAME=VALUE`). Without _site: another user's folder.
fleet_release() {
  umask 007
  fleet_spool || exit
  _dir=$_spool/$_run
  [ -n "$_keep" ] || { rm -rf "$_dir/$_host".*; rmdir "$_dir"; }
  [ -n "$_site" ] || { echo released; exit; }
  fleet_book
  fleet_read_lock
  if [ "$_holder" != "$_run" ]; then
    # Asked again, because the connection broke before it could answer? Else somebody has taken the lock away, and perhaps another run has it
    # by now: what this one says of the site may not be so any more.
    case $(tail -n 50 "$_book/history") in
    *"$_line"*) echo released ;;
    *) rm -f "$_book/at.$_run.$_host"; echo "taken ${_holder:--}" ;;
    esac
    exit
  fi
  fleet_sequence
  # A full disk is no reason to keep others away. The number that is not written down then is given once more.
  if [ "$_sequence" -gt "$_number" ]; then
    echo "$_sequence" >"$_book/sequence.new" && mv -f "$_book/sequence.new" "$_book/sequence" || rm -f "$_book/sequence.new"
  fi
  if [ -n "$_proven" ]; then
    _now=$(date +%s)
    printf '%s\n' "$_sequence $_run $_proven ${_now:--} $_by${_also:+ $_also}" "$_value" >"$_book/proof.new" && mv -f "$_book/proof.new" "$_book/proof" ||
      { rm -f "$_book/proof.new"; echo unproven; }
  fi
  echo "$_line" >>"$_book/history"
  # One run of sixteen shortens it, which takes two more processes.
  case $_run in *0) tail -n 100 "$_book/history" >"$_book/history.$_run.$_host" && mv "$_book/history.$_run.$_host" "$_book/history" ;; esac
  rm -f "$_book/at.$_run.$_host" || exit
  for _at in "$_book/at.$_run".*; do
    [ ! -e "$_at" ] || { echo released; exit; }
  done
  rm -f "$_book/lock" || exit
  echo released
}
