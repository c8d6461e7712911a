# The files of a recipe on a host: a folder of the run, which its steps know as $FLEET_FILES. Before each function come assignments: _run, _host
# (its number in the run) and _beside (`yes`: the run locks nothing, so nobody else removes its folder).
#   RUN/HOST.files, or files.RUN.HOST   the folder. Beside it .have/MARK: that file is whole; .new: the one that is coming

# Sets $_files, and makes the folder if need be.
fleet_files_folder() {
  umask 077
  fleet_spool || { echo fault; exit; }
  fleet_ground
  _files=$_spool/$_run/$_host.files
  if [ -n "$_beside" ]; then
    _files=$_spool/files.$_run.$_host
    # Of runs that were cut off.
    for _old in "$_spool"/files.*; do
      [ ! -e "$_old" ] || [ -z "$(find "$_old" -prune -mtime +1)" ] || rm -rf "$_old"
    done
  fi
  mkdir -p "$_files" "$_files.have" || { echo fault; exit; }
}

# Says which files are there, and where. Comes after fleet_files_folder.
fleet_files_there() {
  for _mark in "$_files.have"/*; do [ ! -e "$_mark" ] || echo "have ${_mark##*/}"; done
  echo "files $_files"
}

# A part of a file, on standard input: $1 its mark, $2 its path, $3 its mode, $4 its size, $5 how the part is written, $6 where in the file it
# begins, $7 `last`. A question that is asked again, because its connection broke, brings a part again.
fleet_file() {
  [ ! -e "$_files.have/$1" ] || return 0
  [ "$6" -gt 0 ] || true >"$_files.new" || { echo fault; exit; }
  _size=$(wc -c <"$_files.new") || { echo fault; exit; }
  if [ "$_size" -ne "$6" ]; then
    [ "$_size" -gt "$6" ] && dd if="$_files.new" of="$_files.cut" bs="$6" count=1 && mv -f "$_files.cut" "$_files.new" || { echo fault; exit; }
  fi
  case $5 in
  plain) cat ;;
  base64) base64 -d ;;
  *) openssl base64 -d ;;
  esac >>"$_files.new" || { echo fault; exit; }
  [ -n "$7" ] || return 0
  [ $(wc -c <"$_files.new") -eq "$4" ] || { echo fault; exit; }
  case $2 in */*) mkdir -p "$_files/${2%/*}" || { echo fault; exit; } ;; esac
  chmod "$3" "$_files.new" && mv -f "$_files.new" "$_files/$2" && true >"$_files.have/$1" || { echo fault; exit; }
}

# Sets $_base64, what decodes it.
fleet_decoder() {
  _base64=base64
  command -v base64 >/dev/null || { _base64=openssl; command -v openssl >/dev/null; } || { echo no-base64; exit; }
}

fleet_files_removed() {
  fleet_spool || exit
  rm -rf "$_spool/files.$_run.$_host" "$_spool/files.$_run.$_host".*
}
