# The run is over on the host. Before it come assignments: _run, _host (its number in the run), _site, _line (for the history), _keep
# (`yes`: it may go on some day, so what it left stays until another run comes). Without _site: another user's folder.
exec 2>/dev/null
fleet_spool || exit
_dir=$_spool/$_run
_new=$_spool/history.$_run.$_host
if [ -n "$_site" ]; then
  # Unless it is asked again, because the connection broke before it could answer.
  [ "$(tail -n 1 "$_spool/history")" = "$_line" ] ||
    { { tail -n 99 "$_spool/history"; echo "$_line"; } >"$_new" && mv "$_new" "$_spool/history"; }
fi
if [ -n "$_keep" ]; then
  rm -f "$_dir/$_host.at.$_site"
else
  rm -f "$_dir/$_host".*
  rmdir "$_dir"
fi
[ -n "$_site" ] || { echo released; exit; }
for _at in "$_dir"/*.at."$_site"; do
  [ ! -e "$_at" ] || { echo released; exit; }
done
_holder=
read -r _holder _ <"$_spool/lock.$_site"
[ "$_holder" != "$_run" ] || rm -f "$_spool/lock.$_site"
echo released
