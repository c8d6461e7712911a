# Makes the host ready for a run and locks the site. Before it come assignments: _run, _host (its number in the run), _site, _since (a
# line about the run), _resumed (`yes`: this run has been here), _whole (`yes`: nothing of it is in flight, so nothing has to be proven by
# what is there). Without _site it only makes the folder ready, for another user.

# Sets $_holder, the run that has the lock.
fleet_lock_of() {
  _holder=
  read -r _holder _ <"$_spool/lock.$_site"
}

exec 2>/dev/null
fleet_boot
fleet_spool || { echo fault; exit; }
_dir=$_spool/$_run
if [ -n "$_site" ]; then
  fleet_ground
  if [ -n "$_resumed" ] && read -r _last _ <"$_spool/last.$_site" && [ "$_last" != "$_run" ]; then
    echo "superseded $_last"
    fleet_holder
    exit
  fi
  set -C
  _owner=
  if { _owner=yes; printf '%s\n%s\n' "$_run $_since" "$_boot"; } >"$_spool/lock.$_site"; then
    set +C
    # What the run before has kept, to go on with some day, is of no use any more.
    read -r _last _ <"$_spool/last.$_site"
    case $_last in '' | "$_run" | */* | .*) ;; *) [ ! -d "$_spool/$_last" ] || rm -rf "$_spool/$_last" ;; esac
    echo "$_run" >"$_spool/last.$_site"
  elif [ -n "$_owner" ]; then
    rm -f "$_spool/lock.$_site"
    echo fault
    exit
  else
    set +C
    # Our own: of an earlier controller, or of another host that has the same spool.
    fleet_lock_of
    [ "$_holder" = "$_run" ] || { fleet_holder; [ -n "$_holder" ] || echo "holder - -"; exit; }
  fi
fi
if [ -z "$_resumed" ]; then
  fleet_run_dir || { echo fault; exit; }
else
  [ -d "$_dir" ] || mkdir -m 700 "$_dir"
  [ -z "$_whole" ] || echo "$_boot" >"$_dir/$_host.boot"
fi
if [ -n "$_site" ]; then
  true >"$_dir/$_host.at.$_site"
  # The other host may have given it back just before.
  fleet_lock_of
  [ "$_holder" = "$_run" ] || { set -C; printf '%s\n%s\n' "$_run $_since" "$_boot" >"$_spool/lock.$_site" || { fleet_holder; exit; }; set +C; }
fi
fleet_connected
echo ready
