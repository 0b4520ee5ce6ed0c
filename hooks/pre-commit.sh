#!/bin/sh
# >>> codewm hook >>>
# codewm-hook: @VERSION@ sha256:@DIGEST@
# Written by `codewm hook install`, removed by `codewm hook uninstall`; edit nothing here, set codewm.hook.* instead.

# A hook that was kept may itself end up calling this one again (two tools that chain each other): run once.
if [ -n "${CODEWM_HOOK_RUNNING:-}" ]; then
    exit 0
fi
CODEWM_HOOK_RUNNING=1
export CODEWM_HOOK_RUNNING

here=$(dirname -- "$0")

# The hook that was here before goes first, and its refusal stands.
if [ -x "$here/@LEGACY@" ]; then
    "$here/@LEGACY@" "$@" || exit $?
fi

codewm=@SCRIPT@
if [ ! -x "$codewm" ]; then
    codewm=$(command -v codewm) || {
        echo "codewm: not found, the commit is not checked (install codewm, or delete $0)" >&2
        exit 0
    }
fi
"$codewm" hook run
# <<< codewm hook <<<
