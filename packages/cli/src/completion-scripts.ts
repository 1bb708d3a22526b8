/**
 * The completion scripts. They hand the words to `wirt complete` as arguments, evaluate nothing that was typed or
 * answered, and take from each line of its answer the value before the tab; the line `:files` asks for file names.
 */

const bash = `# bash completion for wirt: eval "$(wirt completion bash)"
_wirt() {
  local line value cur=\${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  [[ $cur == = ]] && cur=
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o filenames
      mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")
      continue
    fi
    value=\${line%%$'\\t'*}
    [[ $value == *[:=] ]] && compopt -o nospace
    COMPREPLY+=("$value")
  done < <(command wirt complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _wirt wirt
`;

const zsh = `#compdef wirt
# zsh completion for wirt: eval "$(wirt completion zsh)", after compinit
_wirt() {
  local line value description files=0
  local -a described direct
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      files=1
      continue
    fi
    value=\${line%%$'\\t'*}
    description=\${line#*$'\\t'}
    if [[ $value == *[:=] ]]; then
      direct+=("$value")
    else
      described+=("\${value//:/\\\\:}:$description")
    fi
  done < <(command wirt complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  (( \${#described} )) && _describe -t wirt wirt described
  (( \${#direct} )) && compadd -S '' -a direct
  (( files )) && _files
  return 0
}
if [[ \${funcstack[1]} == _wirt ]]; then
  _wirt "$@"
else
  compdef _wirt wirt
fi
`;

const fish = `# fish completion for wirt: wirt completion fish | source
function __wirt_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -q current[1]; or set current ''
    for line in (command wirt complete -- $before[2..-1] $current 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path $current
        else
            printf '%s\\n' $line
        end
    end
end
complete -c wirt -f -a '(__wirt_complete)'
`;

export const completionScripts = { bash, zsh, fish } as const;
export type Shell = keyof typeof completionScripts;
export const shells = ['bash', 'zsh', 'fish'] as const satisfies readonly Shell[];
