# The run is over on the host. Before it come assignments: _run, _host (its number in the run), _site, _line (for the history), _keep
# (`yes`: it may go on some day, so what it left stays until another run comes). Without _site: another user's folder.
exec 2>/dev/null
fleet_spool || exit
_dir=$_spool/$_run
if [ -n "$_site" ]; then
  # Who is asked again, because the connection broke before it could answer, writes the line twice; readers know.
  echo "$_line" >>"$_spool/history"
  # One run of sixteen shortens it, which takes two more processes.
  case $_run in *0) tail -n 100 "$_spool/history" >"$_spool/history.$_run.$_host" && mv "$_spool/history.$_run.$_host" "$_spool/history" ;; esac
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
