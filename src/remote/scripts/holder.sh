# The lock in a site's book.

# Makes the book. Where its folder is a group's to write to, so is the book.
fleet_make_book() {
  if [ ! -d "$_book" ] && (umask 077; mkdir "$_book"); then
    set -- $(LC_ALL=C ls -ldn "$_book/..")
    case $1 in ?????w*) chgrp "$4" "$_book" && chmod 2770 "$_book" ;; esac
  fi
  # Somebody else may have made it just now.
  [ -w "$_book" ] || sleep 0.1 || sleep 1
  [ -d "$_book" ] && [ -w "$_book" ]
}

# Sets $_holder, the run that has the lock, and what it says of itself. A lock that is empty is still one: a host that lost its power may
# have kept the name of the file alone. So is one that is no file, or names no run.
fleet_read_lock() {
  _holder= _begun= _then= _of= _others= _connection= _foreign=
  [ -f "$_book/lock" ] && [ ! -h "$_book/lock" ] || { [ -e "$_book/lock" ] || [ -h "$_book/lock" ] || return 1; _foreign=yes; return 0; }
  {
    read -r _holder _begun
    while read -r _word _rest; do
      case $_word in
      boot) _then=$_rest ;;
      users) _others=$_rest ;;
      login) _of=$_rest ;;
      connection) _connection=$_rest ;;
      esac
    done
  } <"$_book/lock"
  case $_holder in -* | *[!0-9A-Za-z-]*) _foreign=yes _holder= ;; esac
  return 0
}

# Sets $_number, the sequence of the book.
fleet_sequence() {
  _number=0 _least=0
  read -r _number _rest <"$_book/sequence"
  read -r _least _rest <"$_book/proof"
  case $_number in '' | *[!0-9]*) _number=0 ;; esac
  case $_least in '' | *[!0-9]*) _least=0 ;; esac
  [ "$_least" -le "$_number" ] || _number=$_least
}

# The lock of the site, and what is known of the run that has it.
fleet_holder() {
  fleet_read_lock || return 1
  echo "holder ${_holder:-unnamed an unknown time}${_holder:+ $_begun}"
  [ -z "$_foreign" ] || echo "foreign $_book/lock"
  [ -z "$_then" ] || [ "$_then" = "$_boot" ] || echo restarted
  [ -z "$_others" ] || echo "users $_others"
  [ -n "$_holder" ] || return 0
  _alive=
  ! fleet_lives $_connection || _alive=yes
  for _file in "$_book/at.$_holder".*; do
    [ ! -f "$_file" ] || ! read -r _connection <"$_file" || ! fleet_lives $_connection || _alive=yes
  done
  [ -z "$_alive" ] || echo connected
  # A spool is for its owner only: what is in another's can be told by him alone.
  if [ -z "$_of" ] || [ "$_of" = "$_login" ] || [ -d "$_spool/$_holder" ]; then
    fleet_evidence "$_holder"
  else
    echo "login $_of"
    [ ! -d /proc/self ] || [ -r /proc/1/stat ] || echo blind
  fi
  return 0
}
