# Completion of hotswap for bash 4.4 or newer. Written by `hotswap completion bash`.

_hotswap_completion() {
    local value
    COMPREPLY=()
    while IFS=$'\t' read -r value _; do
        COMPREPLY+=("$value")
    done < <(_HOTSWAP_COMPLETE=lines _HOTSWAP_LINE="${COMP_LINE:0:COMP_POINT}" "${1/#\~/$HOME}" 2>/dev/null)
}

complete -o default -F _hotswap_completion hotswap
