//! The scripts of the shells: each hands the words so far to `internal-complete`, and what comes back to the shell.

/// Bash cuts words at `=` and `:`, which belong to ours; where no blank is between two they are one word.
pub(super) const BASH: &str = r#"# bash completion for rabbitc
_rabbitc() {
    local line=${COMP_LINE:0:COMP_POINT} word before i current own prefix reply kind
    local -a words=() lines=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        before=${line%%[^[:blank:]]*}
        line=${line#"$before"}
        if ((i == COMP_CWORD)); then
            word=$line
        else
            word=${COMP_WORDS[i]}
        fi
        if [[ -z $before && ${#words[@]} -gt 0 ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        line=${line#"$word"}
    done
    current=${words[${#words[@]}-1]}
    own=$word
    [[ $own == [=:] ]] && own=
    prefix=${current%"$own"}
    COMPREPLY=()
    reply=$("${words[0]/#\~/$HOME}" internal-complete "${words[@]:1}" 2>/dev/null) || return 0
    local IFS=$'\n'
    set -o noglob
    lines=($reply)
    set +o noglob
    for word in "${lines[@]}"; do
        case $word in
            :*) kind=$word ;;
            *)
                word=${word%%$'\t'*}
                COMPREPLY+=("${word#"$prefix"}")
                ;;
        esac
    done
    case $kind in
        :files)
            [[ ${#COMPREPLY[@]} -eq 0 ]] && compopt -o filenames 2>/dev/null
            COMPREPLY+=($(compgen -f -- "$own"))
            ;;
        :directories)
            compopt -o filenames 2>/dev/null
            COMPREPLY+=($(compgen -d -- "$own"))
            ;;
    esac
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _rabbitc rabbitc
"#;

pub(super) const ZSH: &str = r#"#compdef rabbitc
# zsh completion for rabbitc
_rabbitc() {
    local line kind
    local -a lines values open
    lines=("${(@f)$("${(Q)words[1]}" internal-complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    for line in $lines; do
        case $line in
            :*) kind=$line ;;
            *=$'\t'*) open+=("${line%%$'\t'*}") ;;
            *) values+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    (( $#values )) && _describe -V rabbitc values
    (( $#open )) && compadd -S '' -a open
    case $kind in
        :files) _files ;;
        :directories) _files -/ ;;
    esac
}
if [[ $funcstack[1] == _rabbitc ]]; then
    _rabbitc "$@"
else
    compdef _rabbitc rabbitc
fi
"#;

pub(super) const FISH: &str = r#"# fish completion for rabbitc
function __rabbitc_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    for line in ($program internal-complete $words "$current" 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path "$current"
            case ':directories'
                __fish_complete_directories "$current"
            case ':'
            case '*'
                echo $line
        end
    end
end
complete -c rabbitc -f -a '(__rabbitc_complete)'
"#;
