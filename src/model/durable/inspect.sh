# How things stand on the host. Before it comes an assignment: _site.
exec 2>/dev/null
fleet_boot
fleet_spool || { echo fault; exit; }
fleet_ground
fleet_holder
{ read -r _last _ && echo "last $_last"; } <"$_spool/last.$_site"
for _dir in "$_spool"/*/; do
  [ -d "$_dir" ] || break
  _dir=${_dir%/}
  _name=${_dir##*/}
  [ "$_name" = "$_holder" ] || { echo "left $_name $(du -sk "$_dir" | { read -r _size _; echo "$_size"; })"; fleet_evidence "$_name"; }
done
for _lock in "$_spool"/lock.*; do
  [ ! -e "$_lock" ] || [ "$_lock" = "$_spool/lock.$_site" ] || { read -r _other _rest <"$_lock"; echo "other ${_lock##*/lock.} $_other"; }
done
[ ! -e "$_spool/history" ] || tail -n 50 "$_spool/history" | while read -r _line; do echo "history $_line"; done
