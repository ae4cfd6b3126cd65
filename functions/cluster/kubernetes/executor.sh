# Runs one executor of a TES task: the program and the arguments after $5, without a shell in between. $1 is the folder
# of kept streams, $2 how many bytes of each are kept, $3 the file that becomes stdin, $4 and $5 the files for stdout and
# stderr; each may be empty. What the program prints goes to the container's log, up to the cap to the folder of kept streams, and whole to
# the client's file. The exit code is the program's own. Needs sh, mkdir, mkfifo, tee, head and cat.
kept=$1; pipes=$kept/pipes; limit=$2; in=${3:-/dev/null}; out=$4; err=$5; shift 5
mkdir "$pipes" && mkfifo "$pipes/1" "$pipes/2" "$pipes/stdout" "$pipes/stderr" || exit 125

# Whatever happens to a file (cap, full disk), its pipe is drained: the program never waits for its log.
keep() { { head -c "$limit" >"$kept/$1"; cat >/dev/null; } <"$pipes/$1"; }
keep stdout & keepers=$!
keep stderr & keepers="$keepers $!"
tee "$pipes/stdout" ${out:+"$out"} <"$pipes/1" &
keepers="$keepers $!"
tee "$pipes/stderr" ${err:+"$err"} <"$pipes/2" >&2 &
keepers="$keepers $!"

(exec <"$in" "$@") >"$pipes/1" 2>"$pipes/2" &
program=$!
trap 'kill -TERM "$program" 2>/dev/null' TERM INT
wait "$program"; code=$?
# A signal ends `wait` early; the program may still be finishing.
while kill -0 "$program" 2>/dev/null; do wait "$program"; code=$?; done

# A process that the program left behind may hold a pipe open for ever: two seconds for the rest of the streams.
{ sleep 2; kill $keepers; } >/dev/null 2>&1 &
wait $keepers 2>/dev/null
rm -rf "$pipes"
exit "$code"
