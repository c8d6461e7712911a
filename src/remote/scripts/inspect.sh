# How things stand on the host. Before it come the assignments of a book; _lost (`yes`: nobody knows where the book is, so take the one that
# the last run here had).
fleet_inspect() {
  fleet_spool || { echo fault; exit; }
  fleet_ground
  fleet_book
  echo "book $_book"
  [ ! -d "$_book" ] || [ -r "$_book" ] || echo no-book
  # Its folder is made by the first run.
  case $_book in */*) _above=${_book%/*} ;; *) _above=. ;; esac
  [ -d "$_book" ] || [ -w "$_above" ] || echo no-place
  fleet_holder
  { read -r _last _ && echo "last $_last"; } <"$_book/last"
  fleet_sequence
  echo "sequence $_number"
  for _file in "$_book"/effect.*; do
    [ -f "$_file" ] || continue
    _by=- _words=
    { read -r _by; read -r _words; } <"$_file"
    echo "effect ${_file##*/effect.} $_by $_words"
  done
  if [ -f "$_book/proof" ]; then
    { read -r _line && printf '%s\n' "proof $(date +%s) $_line" && while IFS= read -r _line; do printf '%s\n' "value $_line"; done; } <"$_book/proof"
  fi
  for _dir in "$_spool"/*/; do
    [ -d "$_dir" ] || break
    _dir=${_dir%/}
    _name=${_dir##*/}
    case $_name in "$_holder" | book.* | files.*) continue ;; esac
    echo "left $_name $(du -sk "$_dir" | { read -r _size _; echo "$_size"; })"
    fleet_evidence "$_name"
  done
  for _file in "$_spool"/site.*; do
    [ "$_file" != "$_spool/site.$_site" ] && read -r _other <"$_file" && read -r _other _ <"$_other/lock" && echo "other ${_file##*/site.} $_other"
  done
  [ ! -e "$_book/history" ] || tail -n 50 "$_book/history" | while read -r _line; do echo "history $_line"; done
}
