#!/bin/sh
# What the recipe asks of git. In the checkout's folder: checkout.sh VERB ARGUMENTS
set -eu
. "$(dirname -- "$0")/common.sh"
tab=$(printf '\t') remote=$FLEET_REMOTE

# Before a checkout is asked: an undo of what never began must not fail where there is none.
if [ "$1" = back ] && [ ! -e "$state/former/$FLEET_RUN" ]; then
  echo 'the checkout was not touched'
  exit 0
fi

# git looks for a repository in the folders above, too. Compared physically: home may be a link.
top=$(git rev-parse --show-toplevel)
[ "$(cd -P -- "$top" && pwd -P)" = "$(pwd -P)" ] ||
  fail "$(pwd) is no checkout: it is a plain folder in the one at $top, which is not this site's" \
    'hint: git clone the site there, or set the variable home'

changes() { git status --porcelain --untracked-files=no --ignore-submodules=none; }
title() { git log -1 --format='%h %s' "$1"; }

# A checkout whose group works on it stays the group's: git gives the files of the tree the mode that the login's umask says.
group_writes() { case $(ls -ld .) in d????w*) umask g=rwx ;; esac; }

### What a revision is: always what the remote means by it.

# Into refs of fleet's own, and only these are asked. Rejected: `git fetch --prune --tags --force` into the host's remote-tracking
# branches and tags. It removes tags that somebody made on the host, stops at a ref in whose way a local one is, and a name would still
# be looked up among what is only here.
fetch_all() {
  set -- '+refs/heads/*:refs/fleet/heads/*' '+refs/tags/*:refs/fleet/tags/*'
  [ "$revision" != "$remote/HEAD" ] || set -- "$@" '+HEAD:refs/fleet/default'
  # FETCH_HEAD has the mode that the login's umask says, and is in the way of the next operator. Before git 2.29 it is always written.
  group_writes
  set -- "$remote" "$@"
  ! git fetch -h 2>&1 | grep -q -e write-fetch-head || set -- --no-write-fetch-head "$@"
  git fetch --quiet --prune --no-tags --no-recurse-submodules --refmap= "$@" >&2 && return
  [ "$revision" != "$remote/HEAD" ] || set -- 'hint: when it has no default branch, say what to deploy: -e revision=TAG'
  fail "the fetch from $remote failed, see above" "$1"
}

# Sets $commit to the commit that $revision names.
resolve() {
  case $revision in
  "$remote/HEAD") set -- refs/fleet/default ;;
  refs/heads/* | refs/tags/*) set -- "refs/fleet/${revision#refs/}" ;;
  "$remote"/*) set -- "refs/fleet/tags/$revision" "refs/fleet/heads/$revision" "refs/fleet/heads/${revision#"$remote"/}" ;;
  *) set -- "refs/fleet/tags/$revision" "refs/fleet/heads/$revision" ;;
  esac
  commit=
  # A whole id is the commit, whatever branch may be called so: it is what another site has proven.
  case $revision in
  *[!0-9a-f]*) ;;
  *) case ${#revision} in 40 | 64) commit=$(git rev-parse --verify --quiet "$revision^{commit}") && return ;; esac ;;
  esac
  for ref in "$@"; do
    # The whole name and nothing behind it: main~1 and main@{0} are no names.
    git show-ref --verify --quiet "$ref" || continue
    commit=$(git rev-parse --verify --quiet "$ref^{commit}") && return
  done
  case $revision in
  *[!0-9a-fA-F]* | '' | ? | ?? | ???) ;;
  *)
    # Not rev-parse alone: it takes a branch of the host that is called like a part of a commit's id.
    for object in $(git rev-parse --disambiguate="$revision"); do
      [ "$(git cat-file -t "$object")" = commit ] || continue
      [ -z "$commit" ] || fail "more than one commit begins with $revision"
      commit=$object
    done
    ;;
  esac
  [ -z "$commit" ] || return 0
  case $revision in
  refs/heads/*) fail "there is no branch ${revision#refs/heads/} at $remote" ;;
  refs/tags/*) fail "there is no tag ${revision#refs/tags/} at $remote" ;;
  *) fail "there is no branch $revision and no such tag at $remote, and no commit is called so" ;;
  esac
}

### What is in the way of a commit. All of it is asked before the site closes.

refuse_changes() {
  changed=$(changes)
  [ -z "$changed" ] || fail 'these files were changed on the host itself, and a deployment would lose that:' "$changed" \
    'hint: bring the change upstream (git diff shows it), then drop it here: git checkout -- .'
}

# Commits that neither the remote nor a deployment has brought.
refuse_own_commits() {
  set --
  for note in "$state"/deploys/* "$state"/rolled-back/*; do
    [ ! -f "$note" ] || set -- "$@" $(cut -d ' ' -f 1,2 "$note")
  done
  known=$(for commit in "$@"; do git rev-parse --verify --quiet "$commit^{commit}" || :; done)
  mine=$(git log --format='%h %an: %s' HEAD --not --glob=refs/fleet --remotes="$remote" $known --)
  [ -z "$mine" ] || fail 'these commits were made on the host itself, and a deployment would drop them:' \
    "$(printf '%s\n' "$mine" | head -n 6)" "hint: git push $remote HEAD:refs/heads/NAME on the host, and merge that upstream"
}

# The paths of a diff, with what git quotes in them as they are: `:MODES IDS STATUS<tab>PATH`.
unquoted() {
  while IFS=$tab read -r what path; do
    case $path in
    \"*)
      format=$(printf '%s\n' "$path" | sed 's/^"//; s/"$//; s/\\\\/\\134/g; s/\\"/"/g; s/%/%%/g')
      path=$(printf "$format")
      ;;
    esac
    printf '%s\t%s\n' "$what" "$path"
  done
}
differences() { git -c core.quotePath=false diff-tree -r -t --no-renames --diff-filter="$1" "$2" "$3" | unquoted; }

# What is here, ignored or not, where the commit $1 has something of its own and the tree $2 (that of the index, which is HEAD's when
# nothing was changed) has nothing. Asked of the files, not of git's rules: it takes what they ignore for worthless, and overwrites it.
# (`--no-overwrite-ignore` does not, but knows nothing of submodules, and comes when the site is closed.)
in_the_way() (
  differences AM "$2" "$1" | while IFS=$tab read -r what path; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    case $what in
    ':'*' 160000 '*' '[AM])
      if [ -e "$path/.git" ]; then
        commit=${what% *}
        commit=${commit##* }
        # Without the commit nobody can know; then fetching it fails before.
        git -C "$path" cat-file -e "$commit" 2>/dev/null || continue
        (cd -- "$path" && in_the_way "$commit" HEAD) | while IFS= read -r name; do printf '%s\n' "$path/$name"; done
        continue
      fi
      ;;
    *M) continue ;;
    ':000000 040000 '*) [ -L "$path" ] || [ ! -d "$path" ] || [ -e "$path/.git" ] || continue ;;
    esac
    if [ ! -L "$path" ] && [ -e "$path/.git" ]; then
      printf '%s\n' "$path/"
    else
      git -c core.quotePath=false --literal-pathspecs ls-files --others -- "$path"
    fi
  done
)

refuse_in_the_way() {
  kept=$(in_the_way "$1" "${2:-HEAD}")
  [ -n "$kept" ] || return 0
  count=$(printf '%s\n' "$kept" | wc -l)
  more=
  [ "$count" -le 6 ] || more="and $((count - 6)) more"
  fail "these files of the host would be overwritten by $(title "$1"), which has something else there:" \
    "$(printf '%s\n' "$kept" | head -n 6)" ${more:+"$more"} \
    'hint: move them out of the checkout, or take these names out of the release'
}

# A filter that the release wants, and that is not here: its files would not be what they are upstream, or the checkout fails half-way.
refuse_filters() {
  index=$state/index.$$
  GIT_INDEX_FILE=$index git read-tree "$1"
  wanted=$(GIT_INDEX_FILE=$index git ls-files -z | GIT_INDEX_FILE=$index git check-attr --cached -z --stdin filter |
    tr '\012\000' '\040\012' | awk 'NR % 3 == 0 && !/^(unspecified|unset|set)$/' | sort -u)
  rm -f -- "$index"
  for filter in $wanted; do
    program=$(git config "filter.$filter.process" || git config "filter.$filter.smudge") || program=
    clean=$(git config "filter.$filter.clean") || clean=
    # One that only cleans what is committed has nothing to do in a checkout.
    [ -n "$program" ] || [ -z "$clean" ] || continue
    word=${program%% *}
    if [ -z "$program" ]; then
      finding block "filter.$filter" "the release has files for git's filter $filter, which is not set up on this host: git config filter.$filter.smudge (git lfs install)"
    elif ! command -v "$word" >/dev/null; then
      finding block "filter.$filter" "the release has files for git's filter $filter, and its program $word is not on this host"
    fi
  done
}

# Address of a submodule that is given relative to the remote's.
absolute() {
  case $1 in ./* | ../*) ;; *) printf '%s\n' "$1"; return ;; esac
  base=$(git remote get-url "$remote") url=$1
  base=${base%/}
  while :; do
    case $url in
    ./*) url=${url#./} ;;
    ../*) url=${url#../} base=${base%/*} ;;
    *) break ;;
    esac
  done
  printf '%s\n' "$base/$url"
}

# Every commit of a submodule can be had, from where the release says, before anything closes.
fetch_submodules() {
  git cat-file -e "$1:.gitmodules" 2>/dev/null || return 0
  git config --blob "$1:.gitmodules" --get-regexp '^submodule\..*\.path$' | while read -r key path; do
    wanted=$(git ls-tree "$1" -- "$path" | sed -n 's/^160000 commit \([0-9a-f]*\).*/\1/p')
    [ -n "$wanted" ] || continue
    url=$(absolute "$(git config --blob "$1:.gitmodules" --get "${key%.path}.url")")
    if [ -e "$path/.git" ]; then
      git -C "$path" cat-file -e "$wanted^{commit}" 2>/dev/null && continue
      git -C "$path" fetch --quiet --no-tags -- "$url" '+refs/heads/*:refs/fleet/heads/*' '+refs/tags/*:refs/fleet/tags/*' >&2 &&
        git -C "$path" cat-file -e "$wanted^{commit}" 2>/dev/null && continue
    else
      git ls-remote --quiet -- "$url" HEAD >/dev/null && continue
    fi
    fail "the release has commit $wanted in submodule $path, which cannot be had from $url"
  done
}

# The same for what the release no longer has as a submodule: git leaves it where it is.
refuse_submodule_to_folder() {
  differences ADMT HEAD "$1" | while IFS=$tab read -r what path; do
    case $what in
    ':160000 '*) ;;
    *) continue ;;
    esac
    [ -e "$path/.git" ] && [ "$(git cat-file -t "$1:$path" 2>/dev/null)" = tree ] || continue
    fail "the submodule $path becomes a folder in $(title "$1"), and git leaves a submodule where it is" \
      "hint: git submodule deinit -f $path on the host"
  done
}

# All of them. `fetch_all` comes before.
refuse_obstacles() {
  # The umask for what fleet keeps is not that of the checkout.
  (keep_in "$state")
  refuse_changes
  refuse_own_commits
  refuse_submodule_to_folder "$1"
  fetch_submodules "$1"
  refuse_in_the_way "$1"
  refuse_filters "$1"
}

### To a commit, and back.

# Has the checkout all of the commit?
has() {
  [ "$(git rev-parse HEAD)" = "$1" ] && [ -z "$(changes)" ] && ! git submodule status --recursive | grep -q '^[-+U]'
}

check_out() {
  group_writes
  git checkout --quiet --no-overwrite-ignore --detach "$1"
  [ -f .gitmodules ] || return 0
  git submodule --quiet sync --recursive
  git submodule --quiet update --init --recursive
}

pull() {
  refuse_changes
  commit=$(git rev-parse --verify --quiet "$revision^{commit}") || commit=
  if [ "$commit" != "$revision" ]; then
    fetch_all
    resolve
  fi
  refuse_obstacles "$commit"
  note=$state/former/$FLEET_RUN
  if [ ! -e "$note" ]; then
    (
      keep_in "$state/former"
      # What the checkout brings to places where there is nothing now.
      differences A HEAD "$commit" | while IFS=$tab read -r what path; do
        [ -e "$path" ] || [ -L "$path" ] || printf '%s\n' "$path"
      done >"$note.new"
      start_of_host >"$note.start"
      echo "$(git rev-parse HEAD) $(git symbolic-ref --quiet HEAD || echo -) $commit" >"$note"
    )
    # The former commit stays, whatever becomes of its branch.
    git update-ref "refs/fleet/former/$FLEET_RUN" HEAD
  fi
  check_out "$commit"
  left=$(changes)
  [ -z "$left" ] || fail 'right after its checkout git calls these files changed: by a filter, or the ends of lines?' "$left"
  title HEAD
}

# What the tree has besides the commit $1, in places where there was nothing before this run: a checkout that failed half-way has brought it.
# What is not as the release has it is kept aside.
remove_brought() {
  [ -f "$note.new" ] || return 0
  sort -r "$note.new" | while IFS= read -r path; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    [ -z "$(git --literal-pathspecs ls-tree "$1" -- "$path")" ] || continue
    if [ -d "$path" ] && [ ! -L "$path" ] && [ ! -e "$path/.git" ]; then
      rmdir -- "$path" 2>/dev/null || :
      continue
    fi
    if [ -e "$path/.git" ]; then
      [ -n "$(git -C "$path" status --porcelain --ignored 2>&1)" ] || { rm -rf -- "$path"; continue; }
    elif [ "$(git rev-parse --verify --quiet "$target:$path")" = "$(git hash-object --no-filters -- "$path" 2>/dev/null)" ]; then
      rm -f -- "$path"
      continue
    fi
    aside=$state/left/$FLEET_RUN/$path
    (keep_in "$(dirname -- "$aside")")
    mv -- "$path" "$aside"
    echo "warning: $path is not as the release has it; it is kept in $aside"
  done
}

# Judged by what is there, not by how the checkout ended. Never with --force: that overwrites what the host has at the place of a file
# of the former commit. Rejected for such a file: to move it away and continue. Whoever made it can say what it is for, fleet cannot.
back() {
  note=$state/former/$FLEET_RUN
  read -r commit branch target <"$note"
  changed=$(changes)
  if [ -n "$changed" ] || [ "$(git rev-parse HEAD)" != "$commit" ]; then
    group_writes
    # The tree was clean when this run came: it, or somebody later, has changed this.
    if [ -n "$changed" ]; then
      index=$(git write-tree)
      refuse_in_the_way HEAD "$index"
      keep='
        change=$(git -c user.name=fleet -c user.email=fleet@localhost stash create) &&
          { [ -z "$change" ] || git update-ref "$aside" "$change"; } &&
          git reset --quiet --hard
      '
      aside=refs/fleet/changed/$FLEET_RUN
      export aside
      [ ! -f .gitmodules ] || git submodule --quiet foreach --recursive "$keep"
      eval "$keep"
      printf '%s\n' 'warning: these files were changed since this run began, and are as the commit has them again:' "$changed"
      echo "what was changed is kept: git stash show -p $aside"
    fi
    refuse_in_the_way "$commit"
    check_out "$commit"
  fi
  remove_brought "$commit"
  left=$(changes)
  [ -z "$left" ] || fail "the checkout is at $commit again, but git calls these files changed:" "$left"
  if [ "$branch" != - ] && [ "$(git rev-parse --verify --quiet "$branch")" = "$commit" ]; then
    git symbolic-ref HEAD "$branch"
  fi
  git log -1 --format='back at %h %s'
}

### What would change.

# From what this host runs to the commit, in a line. A host on which all of it is done says `nothing new`, unless $2 says that all are closed.
change() {
  if [ "$2" != all ] && has "$1" && [ "$(cat "$state/current" 2>/dev/null)" = "$1" ]; then
    echo "nothing new: $(title "$1")"
  elif [ "$(git rev-parse HEAD)" = "$1" ]; then
    echo "again $(title "$1")"
  else
    echo "$(git log -1 --format=%h)..$(title "$1")"
  fi
}

# The commits between what runs here and what would come; $1 is what runs on the first host.
diff() {
  [ "$(git rev-parse HEAD)" = "$1" ] || echo "differs from the other hosts, which are at $(title "$1"): here is $(title HEAD)"
  echo "$(git log -1 --format=%h)..$(title "$commit")"
  git log --format='  %h %an, %as: %s' "HEAD..$commit" -- | head -n 50
  behind=$(git log --format='  %h %an, %as: %s' "$commit..HEAD" -- | head -n 50)
  [ -z "$behind" ] || printf '%s\n' 'and without these, which run now:' "$behind"
}

# Is the database of an older schema than that of the release? `all`: all hosts are closed for a migration; `each`: one after the other is.
# What was never migrated by a run of fleet's counts from the commit that is here. FLEET_PENDING of a recipe that extends this one prints what
# waits for a migration, besides the release.
migrates() {
  waits=
  [ -z "${FLEET_PENDING-}" ] || waits=$(own "$FLEET_PENDING")
  migrated=$(cat "$state/migrated" 2>/dev/null) || migrated=
  if ! is_set "$FLEET_MIGRATE" || { [ "$migrated" = "$revision" ] && [ -z "$waits" ]; }; then
    echo each
  elif [ -n "$waits" ] || ! is_set "$FLEET_MIGRATES"; then
    echo all
  else
    fetch_all
    status=0
    FROM=${migrated:-$(git rev-parse HEAD)} TO=$revision
    export FROM TO
    own "$FLEET_MIGRATES" >&2 || status=$?
    case $status in
    0) echo all ;;
    1) echo each ;;
    *) fail "the variable migrates ended with $status: 0 means that the release migrates, 1 that it does not" ;;
    esac
  fi
}

# Is the remote there, and may fleet write what it keeps?
ready() {
  (keep_in "$state")
  [ -w "$state" ] || fail "$state cannot be written"
  git ls-remote --quiet -- "$remote" HEAD >/dev/null || fail "the remote $remote cannot be read, see above"
  changed=$(changes)
  [ -z "$changed" ] || finding warning changed "files were changed on the host itself: $(echo $changed)"
}

verb=$1 revision=${2-}
case $verb in
pin) fetch_all; resolve; echo "$commit" ;;
check)
  refuse_changes
  fetch_all
  git cat-file -e "$revision^{commit}" 2>/dev/null || fail "the commit $revision is not at $remote as this host sees it"
  refuse_obstacles "$revision"
  [ "$3" != none ] || ! is_set "$FLEET_MIGRATE" ||
    finding warning migrate 'the database is not migrated: no host with the role db takes part in this run (variable migrate)'
  change "$revision" "$3"
  ;;
migrates) migrates ;;
has) has "$revision" ;;
pull) pull ;;
back) back ;;
refuse) refuse_changes; refuse_in_the_way "$revision" ;;
diff) fetch_all; resolve; diff "$3" ;;
ready) ready ;;
esac
