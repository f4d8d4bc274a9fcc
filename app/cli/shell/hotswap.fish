# Completion of hotswap for fish. Written by `hotswap completion fish`.

function __hotswap_candidates
    set -l program (commandline --tokenize --current-process)[1]
    set -l line (commandline --cut-at-cursor --current-process)
    set -l found (env _HOTSWAP_COMPLETE=lines _HOTSWAP_LINE="$line" (string replace --regex -- '^~' $HOME $program) 2>/dev/null)
    if test (count $found) -gt 0
        # fish compares candidates with the whole word: of --option=value also the part before the value.
        set -l before (string match --regex -- '^--?[^=]+=' (commandline --current-token --cut-at-cursor))
        printf "$before%s\n" $found
    else
        __fish_complete_path (commandline --current-token --cut-at-cursor)
    end
end

complete --command hotswap --no-files --keep-order --arguments '(__hotswap_candidates)'
