# Makes the host ready for a run and locks the site. Before it come assignments: _run, _host (its number in the run), _site, _since (a
# line about the run), _users (others who have steps of it), _resumed (`yes`: this run has been here), _whole (`yes`: nothing of it is in
# flight, so nothing has to be proven by what is there). Without _site it only makes the folder ready, for another user.

# Makes $_dir, the folder of the run, and notes in it that the run is on $_host.
fleet_run_dir() {
  [ ! -s "$_dir/$_host.boot" ] || return 0
  # Another host of the run that has the same spool may remove the folder in between, as it leaves.
  for _n in 1 2 3; do
    [ -d "$_dir" ] || mkdir -m 700 "$_dir"
    ! echo "$_boot" >"$_dir/$_host.boot" || return 0
  done
  return 1
}

# Takes the lock and says that it did, or sets $_holder, the run that has it. A lock without a name in it is about to get one, or to go
# again for want of room; one that cannot be made for want of room is removed. What is in it is complete from the first: whoever reads it
# a moment later must not take the run for one whose controller is gone.
fleet_take() {
  for _n in 1 2 3 4 5 6 7 8 9 10; do
    # To open a pipe would be to wait for its reader.
    fleet_read_lock && [ -n "$_foreign" ] && return 1
    set -C
    _owner=
    if { _owner=yes; printf '%s\n' "$_run $_since" "boot $_boot" "users $_users" "login $_login" "connection $_server"; } >"$_book/lock"; then
      set +C
      return 0
    fi
    set +C
    [ -z "$_owner" ] || { rm -f "$_book/lock"; echo fault; exit; }
    fleet_read_lock && [ -n "$_holder$_foreign" ] && return 1
    sleep 0.1 || sleep 1
  done
  return 1
}

# Says who has the lock, unless it cannot be made.
fleet_locked() {
  fleet_holder || echo fault
  exit
}

fleet_lock() {
  umask 007
  fleet_spool || { echo fault; exit; }
  _dir=$_spool/$_run
  fleet_ground
  if [ -n "$_site" ]; then
    fleet_book
    echo "book $_book"
    fleet_make_book || { echo no-book; exit; }
    if [ -n "$_resumed" ] && read -r _last _ <"$_book/last" && [ "$_last" != "$_run" ]; then
      echo "superseded $_last"
      fleet_holder
      exit
    fi
    fleet_server
    if fleet_take; then
      # What the run before has kept, to go on with some day, is of no use any more.
      read -r _last _ <"$_book/last"
      case $_last in
      '' | "$_run" | *[!0-9A-Za-z-]*) ;;
      # Unless somebody has taken the lock from a run that works.
      *) [ ! -d "$_spool/$_last" ] || case $(fleet_evidence "$_last") in *running*) ;; *) rm -rf "$_spool/$_last" ;; esac ;;
      esac
      echo "$_run" >"$_book/last"
      echo "$_book" >"$_spool/site.$_site"
    else
      # Our own: of an earlier controller, or of another host that has the same book.
      [ "$_holder" = "$_run" ] || fleet_locked
    fi
    if [ -z "$_resumed" ]; then
      { read -r _line && printf '%s\n' "proof - $_line" && while IFS= read -r _line; do printf '%s\n' "value $_line"; done; } <"$_book/proof"
    fi
    # Whatever comes of a run that is taken up again, it is not what it was.
    if read -r _number _proven _rest <"$_book/proof" && [ "$_proven" = "$_run" ]; then
      echo "$_number $_proven -" >"$_book/proof.new" && mv -f "$_book/proof.new" "$_book/proof" || { echo fault; exit; }
    fi
    fleet_sequence
    echo "sequence $_number"
  fi
  if [ -z "$_resumed" ]; then
    fleet_run_dir || { echo fault; exit; }
  else
    [ -d "$_dir" ] || mkdir -m 700 "$_dir"
    if [ -n "$_whole" ]; then
      echo "$_boot" >"$_dir/$_host.boot"
    else
      true >>"$_dir/$_host.boot"
    fi
  fi
  if [ -n "$_site" ]; then
    echo "$_server" >"$_book/at.$_run.$_host" || { echo fault; exit; }
    # The other host may have given it back just before.
    fleet_take || [ "$_holder" = "$_run" ] || fleet_locked
  fi
  echo ready
}
