#!/usr/bin/env bash
# Writes a new domain with one entity: a start to change into what you need.
#
# new-domain.sh NAME [--entity ENTITY] [--no-build]
#     Writes the files of scripts/new-domain, with the names put in, and the domain's lines in the catalog and in shared pages;
#     then builds, and writes what programs and tests make from them: the text of the merge, the snapshot of the samples, the
#     page of rights, the answers in docs/marts. Refuses to overwrite anything.
#     NAME, ENTITY  3 to 20 lower-case letters; ENTITY is `ficha` when it is not said
#     --no-build    writes what needs no build, and says which commands write the rest
# new-domain.sh --remove NAME [--force]
#     Deletes these files and lines again, and nothing else. Refuses when one of the files has been changed, because its
#     changes would be lost; --force deletes it all the same.
#
# Exit status 2: a name or an option is wrong, or the tree is not as the script needs it; then nothing has been written.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

refuse() { (die "$@") || exit 2; }

TEMPLATES=scripts/new-domain
CATALOG=contracts/src/lib.rs
CONTRACTS=docs/contracts.md
MARTS=docs/marts/README.md
RIGHTS=docs/rights.md
# The engine: a test searches it for the names of domains and entities.
ENGINE=(worker/src publisher/src crates)
# Words of SQL and Rust, schemas of the platform, and types that the domain's module imports.
RESERVED=" all analyse analyze and any array async await both box case cast check code collate column const constraint
 context continue core crate create cross current date decimal default deferrable desc distinct domain enum error except
 extern false fetch final for foreign from full generate grant group having impl inner instant intersect into isnull join
 lateral leading left like limit localtime loop macro marts match mod move mut natural not notnull null offset only option
 order outer override overlaps placing primary pruebas public pub raw ref references result return returning right rule
 select self session similar some static stg string struct super symmetric table tablesample then trailing trait true try
 type typeof union unique unsafe unsized use user using values variadic vec verbose virtual when where while window with
 yield "

# check_word WHAT WORD: what names of domains and entities have in common.
check_word() {
  local what=$1 word=$2 capital=${2^} ends='(s|es)?([^a-z]|$)'
  [[ $word =~ ^[a-z]{3,20}$ ]] || refuse "'$word' is no name of $what" "take 3 to 20 letters from a to z"
  [[ $(tr '\n' ' ' <<<"$RESERVED") != *" $word "* ]] ||
    refuse "'$word' is a word of SQL, of Rust or of the platform" "take another name for the $what"
  if grep -rqiE "(^|[^a-z])$word$ends" "${ENGINE[@]}" || grep -rqE "$capital$ends" "${ENGINE[@]}"; then
    refuse "the engine's code uses the word '$word', and may not name what messages are about" \
      "take another name for the $what; where it stands: grep -rniwE '$word(s|es)?' ${ENGINE[*]}"
  fi
}

# Names that are taken, before anything is written.
check_names() {
  check_word domain "$name"
  check_word entity "$entity"
  if grep -rqF --include='*.rs' "Domain::new(\"$name\")" contracts/src || compgen -G "sql/migrations/V*__$name.sql" >/dev/null; then
    refuse "there is a domain $name" "take another name, or delete it if this script made it: $0 --remove $name"
  fi
  ! grep -qE "^ *(pub )?mod $name;" "$CATALOG" ||
    refuse "contracts has a module $name, which is no domain" "take another name"
  ! grep -rqE "^create schema $name;" sql/migrations || refuse "there is a schema $name" "take another name"
  ! grep -rqE "^ *entity \"$entity\"," contracts/src ||
    refuse "there is an entity $entity" "take another name: $0 $name --entity ENTITY"
}

# render: the files of the domain in the folder $work; their paths become `written`.
render() {
  local template file
  while IFS= read -r template; do
    file=${template#"$TEMPLATES/"} file=${file%.in}
    file=${file//@domain@/$name} file=${file//@entity@/$entity} file=${file//@next@/$number}
    mkdir -p "$work/$(dirname "$file")"
    sed -e "s/@domain@/$name/g; s/@entity@/$entity/g; s/@Domain@/${name^}/g; s/@Entity@/${entity^}/g" "$template" >"$work/$file"
    # The section of a page that is there already.
    [[ $file == "$CONTRACTS" ]] || written+=("$file")
  done < <(find "$TEMPLATES" -name '*.in' | LC_ALL=C sort)
  made=("grafana/dashboards/domains/$name.json" "sql/generated/$name/merge_${entity}s.sql"
    "contracts/tests/snapshots/fixtures__$name.$entity.snap")
}

# edit FILE AWK_PROGRAM: the file with the program's changes, written when all of them are made (keep_edits).
edit() {
  local file=$1
  mkdir -p "$work/edited/$(dirname "$file")"
  awk -v name="$name" -v entity="$entity" -v section="$work/$CONTRACTS" "$2" "$file" >"$work/edited/$file"
  shared+=("$file")
}
keep_edits() {
  local file
  for file in "${shared[@]}"; do cat "$work/edited/$file" >"$file"; done
}

add_lines() {
  # shellcheck disable=SC2016  # for awk
  edit "$CATALOG" '
    /^\/\/ The domains, a line for each/ { inside = 1 }
    inside && !done && (/^$/ || /^pub mod / && $3 > name ";") { print "pub mod " name ";"; done = 1 }
    /\/\/ A new domain stands last/ { print "        " name "::domain()," }
    { print }'
  # shellcheck disable=SC2016
  edit "$CONTRACTS" '/^## Codes$/ { while ((getline line < section) > 0) print line } { print }'
  # shellcheck disable=SC2016
  edit "$MARTS" '
    /^\| \[/ { rows = 1 }
    rows && /^$/ { print "| [" name "](" name ".md) | records (`" entity "`) |"; rows = 0 }
    { print }'
  local file
  for file in "${shared[@]}"; do
    grep -q "$name" "$work/edited/$file" || refuse "$file has no place for domain $name any more" "see add_lines in $0"
  done
}

remove_lines() {
  # shellcheck disable=SC2016
  edit "$CATALOG" '$0 == "pub mod " name ";" || $0 == "        " name "::domain()," { next } { print }'
  # shellcheck disable=SC2016
  edit "$CONTRACTS" '/^## / { gone = $0 == "## " name } !gone { print }'
  # shellcheck disable=SC2016
  edit "$MARTS" 'index($0, "| [" name "](") != 1 { print }'
  # Only a build has written there.
  if grep -q "^| \`$name\." "$RIGHTS"; then
    # shellcheck disable=SC2016
    edit "$RIGHTS" '
      index($0, "| `" name ".") == 1 || index($0, "| `marts." name "_by_month`") == 1 || index($0, "| `stg." name "_" entity "`") == 1 { next }
      { print }'
  fi
}

dashboard() {
  if python3 -c 'import yaml' 2>/dev/null; then
    scripts/check_dashboards.py --build
    say "grafana/dashboards/domains/$name.json: written"
  else
    later+=("scripts/check_dashboards.py --build     # needs python3-yaml")
  fi
}

# One build for all; the tests start the servers that they need.
REWRITE='INSTA_UPDATE=always ACEQUIA_REWRITE=1 UPDATE_RIGHTS=1 \
    cargo test --locked --workspace --test fixtures --test merges --test integration -- \
    samples_decode_as_recorded each_generated_merge mart_pages::every_mart duties::the_page_of_rights'
rewrite() {
  compile_by_clippy
  say "building, and writing what tests make; this takes minutes:"
  say "  $REWRITE"
  bash -c "$REWRITE" >&2 ||
    die "the domain is there, but its tests do not pass" "its files stay; delete them with: $0 --remove $name"
}

new_domain() {
  local file last began=$SECONDS
  check_names
  last=$(find sql/migrations -name 'V*__*.sql' | sed -E 's/.*\/V0*([0-9]+)__.*/\1/' | sort -n | tail -n 1)
  number=$(printf '%04d' $((last + 1)))
  render
  for file in "${written[@]}" "${made[@]}"; do
    [[ ! -e $file ]] || refuse "$file is there already" "take another name, or delete the file first"
  done
  add_lines
  for file in "${written[@]}"; do
    mkdir -p "$(dirname "$file")"
    cp "$work/$file" "$file"
  done
  keep_edits
  say "domain $name with entity $entity: ${#written[@]} files written, lines added to ${shared[*]}"
  printf '  %s\n' "${written[@]}" >&2
  dashboard
  if [[ $build == yes ]]; then
    rewrite
    say "written by tests, with lines in $RIGHTS and the answers in docs/marts/$name.md:"
    printf '  %s\n' "${made[@]:1}" >&2
  else
    later+=("$REWRITE")
  fi
  say "done in $((SECONDS - began)) s."
  if [[ ${#later[@]} -gt 0 ]]; then
    say "Not done yet; the tests need it:"
    printf '  %s\n' "${later[@]}" >&2
  fi
  say "Now:
  scripts/test.sh                     every test
  docs/adding-a-domain.md             what each file is for: make it the domain that you need
  $0 --remove $name    deletes it again"
}

# same FILE: whether a file is as the script wrote it; answers on pages are not its own.
same() {
  if [[ $1 == *.md ]]; then
    diff -q <(grep -vE '^(\|.*)?$' "$1") <(grep -vE '^(\|.*)?$' "$work/$1") >/dev/null
  else
    cmp -s "$1" "$work/$1"
  fi
}

remove_domain() {
  local file migrations changed=() left=() folder first
  mapfile -t migrations < <(compgen -G "sql/migrations/V*__$name.sql")
  [[ ${#migrations[@]} -eq 1 ]] || refuse "there is no domain $name that this script made" "its migration would be sql/migrations/V<number>__$name.sql"
  read -r first <"${migrations[0]}"
  [[ $first =~ ^'-- Domain '$name' with entity '([a-z]+)', written by scripts/new-domain.sh.'$ ]] ||
    refuse "this script did not make domain $name: ${migrations[0]} does not say so" "delete it by hand"
  entity=${BASH_REMATCH[1]}
  number=${migrations[0]#sql/migrations/V} number=${number%%__*}
  render
  for file in "${written[@]}"; do
    [[ ! -e $file ]] || same "$file" || changed+=("$file")
  done
  [[ ${#changed[@]} -eq 0 || $force == yes ]] ||
    refuse "these files have been changed: ${changed[*]}" "keep them, or delete them all the same: $0 --remove $name --force"
  remove_lines
  keep_edits
  rm -f "${written[@]}" "${made[@]}"
  for file in "${written[@]}" "${made[@]}"; do
    folder=$(dirname "$file")
    [[ ! -d $folder ]] || rmdir -p --ignore-fail-on-non-empty "$folder"
  done
  say "domain $name: files deleted, lines taken out of ${shared[*]}"
  mapfile -t left < <(find contracts docs sql grafana worker api testing scripts -name "$name" -o -name "$name.*" -o -name "V*__$name*" \
    -o -name "fixtures__$name.*")
  [[ ${#left[@]} -eq 0 ]] || say "not from this script, left where they are: ${left[*]}"
  say "A database that has migration V$number refuses the next \`worker migrate\`: delete a trial's with scripts/down.sh --wipe"
}

name='' entity=ficha build=yes remove=no force=no written=() made=() shared=() later=() number=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --entity) entity=${2-} && shift ;;
    --no-build) build=no ;;
    --remove) remove=yes ;;
    --force) force=yes ;;
    -h | --help)
      print_help
      exit
      ;;
    -*) refuse "unknown option $1" "see $0 --help" ;;
    *)
      [[ -z $name ]] || refuse "more than one name: $name, $1" "see $0 --help"
      name=$1
      ;;
  esac
  shift || refuse "--entity needs a name" "see $0 --help"
done
[[ -n $name ]] || refuse "which domain?" "see $0 --help"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ $remove == yes ]]; then remove_domain; else new_domain; fi
