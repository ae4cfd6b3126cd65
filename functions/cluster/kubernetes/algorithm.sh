# Runs the algorithm, or the filter, $1, in a container; $2 is how many bytes of its log are kept, $3 where.
# What it prints goes to the container's log and, up to the cap, to that file; the exit code is the program's
# own, which a pipe into tee would hide. Needs sh, mkdir, mkfifo, tee, head and cat (coreutils or busybox).
log=${3:-$LOGS/algorithm.log}
mkdir -p "$OUTPUTS" "$LOGS"
pipes=${TMPDIR:-/tmp}/.sluice.$$
mkdir "$pipes" && mkfifo "$pipes/all" "$pipes/kept" || exec sh -c "$1"

# Whatever happens to the file (cap, full disk), the pipe is drained: the algorithm never waits for its log.
{ head -c "$2" >"$log"; cat >/dev/null; } <"$pipes/kept" &
keeper=$!
tee "$pipes/kept" <"$pipes/all" &
teer=$!

sh -c "$1" >"$pipes/all" 2>&1 &
algorithm=$!
trap 'kill -TERM "$algorithm" 2>/dev/null' TERM INT
wait "$algorithm"; code=$?
# A signal ends `wait` early; the algorithm may still be finishing.
while kill -0 "$algorithm" 2>/dev/null; do wait "$algorithm"; code=$?; done

# A process that the algorithm left behind may hold the pipe open for ever: two seconds for the rest of the log.
{ sleep 2; kill "$teer" "$keeper"; } >/dev/null 2>&1 &
wait "$teer" "$keeper" 2>/dev/null
rm -rf "$pipes"
exit "$code"
