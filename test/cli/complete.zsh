# Prints what zsh offers at the end of the line $LINE, one a line, between <<< and >>>: a shell in a terminal of its own completes it by
# ./_dreamdb, and tells of its matches as they are added.
if [[ -n $IS_INNER ]]; then
  PROMPT=
  autoload -Uz compinit && compinit -u -D
  source ./_dreamdb
  bindkey '^I' complete-word
  begun() { print -r -- '<<<' }
  ended() { print -r -- '>>>'; exit }
  compprefuncs=(begun)
  comppostfuncs=(ended)
  compadd() {
    # Calls that only ask for what would match add nothing.
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return $?; fi
    local -a caught
    builtin compadd -A caught "$@"
    (( $#caught )) && print -rl -- $caught
    builtin compadd "$@"
  }
  print READY
  return
fi
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "IS_INNER=1; source ${(q)0}"
zpty -r shell output '*READY*'
zpty -n -w shell "$LINE"$'\t'
while zpty -r shell output; do print -rn -- $output; done
