#compdef hotswap
# Completion of hotswap for zsh. Written by `hotswap completion zsh`.

_hotswap_completion() {
    local line value
    local -a found
    while IFS= read -r line; do
        value=${line%%$'\t'*}
        value=${value//:/\\:}
        if [[ $line == *$'\t'* ]]; then
            found+=("$value:${line#*$'\t'}")
        else
            found+=("$value")
        fi
    done < <(_HOTSWAP_COMPLETE=lines _HOTSWAP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" ${~words[1]} 2>/dev/null)
    if (( ! $#found )); then
        _files
        return
    fi
    [[ $PREFIX == -*=* ]] && compset -P '*='
    _describe -V 'hotswap' found
}

if [[ ${funcstack[1]} == _hotswap ]]; then
    _hotswap_completion "$@"
else
    compdef _hotswap_completion hotswap
fi
