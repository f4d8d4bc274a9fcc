#!/bin/sh
# Publishes a module, deploys it and waits for the end: for build servers on which the command line is not installed.
#
#   HOTSWAP_URL=https://hotswap.example.com HOTSWAP_TOKEN=hs_... HOTSWAP_SIGNING_KEY=publisher.key \
#       sh deploy/ci/curl.sh MODULE ENVIRONMENT
#
# MODULE is a folder with hotswap.yaml (all of it is packed, .git aside), or its .tar.gz. Optional variables:
#   COMMIT, BRANCH, BUILD_URL   what the release was made from
#   RUN                         of this run of the job: with the same RUN nothing is deployed twice (default: the moment)
#   TIMEOUT=2700 POLL=5         seconds; the deployment goes on when TIMEOUT is over
#
# HOTSWAP_SIGNING_KEY is a file, or the PEM itself. It needs curl, openssl 3, tar (GNU), gzip, and jq or python3. The key is
# Ed25519. Exit codes, as of `hotswap deploy --wait`:
#   0 succeeded   1 did not succeed   2 wrong usage   3 no server, or no login   4 not permitted   5 refused
#   6 still running   7 waits for a person
set -eu
umask 077

fail() {
    echo "curl.sh: $2" >&2
    exit "$1"
}

[ $# -eq 2 ] || fail 2 "wanted: MODULE ENVIRONMENT"
module=$1 environment=$2
: "${HOTSWAP_URL:?}" "${HOTSWAP_TOKEN:?}" "${HOTSWAP_SIGNING_KEY:?}"
: "${COMMIT:=}" "${BRANCH:=}" "${BUILD_URL:=}" "${TIMEOUT:=2700}" "${POLL:=5}" "${RUN:=$(date +%s)-$$}"
api=${HOTSWAP_URL%/}/api/v1
for tool in curl openssl tar gzip; do
    command -v "$tool" > /dev/null || fail 2 "$tool is not installed"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# The token is in a file, since everybody on the machine can read arguments.
printf 'header = "Authorization: Bearer %s"\n' "$HOTSWAP_TOKEN" > "$work/curl"

# --- JSON: one field of a document, a text as JSON, and what became of each stage
if command -v jq > /dev/null; then
    field() { jq -r --arg name "$1" '.[$name] // empty' "$2" 2> /dev/null || :; }
    quoted() { jq -n --arg text "$1" '$text'; }
    stages() { jq -r '.stages[] | "\(.name): \(.status) \(.message // "")", ((.outputTail // "") | split("\n")[] | "  \(.)")' "$1"; }
else
    field() {
        python3 -c 'import json, sys; print(json.load(open(sys.argv[2])).get(sys.argv[1]) or "")' "$1" "$2" 2> /dev/null || :
    }
    quoted() { python3 -c 'import json, sys; print(json.dumps(sys.argv[1]))' "$1"; }
    stages() {
        python3 -c 'if True:
            import json, sys
            for stage in json.load(open(sys.argv[1]))["stages"]:
                print(stage["name"] + ":", stage["status"], stage["message"] or "")
                for line in (stage["outputTail"] or "").splitlines():
                    print("  " + line)' "$1"
    }
fi

# --- HTTP: the answer in $work/answer, its status in $status. All that we send may be sent again: the same bytes are no
# second release, and the key makes a repeated submission the same one.
request() {
    path=$1
    shift
    for pause in 1 2 4 8 last; do
        status=$(curl --silent --show-error --config "$work/curl" --connect-timeout 10 --max-time 300 \
            --output "$work/answer" --write-out '%{http_code}' "$@" "$api$path") || status=000
        case $status in
            000 | 429 | 502 | 503 | 504) [ "$pause" = last ] || sleep "$pause" ;;
            *) return 0 ;;
        esac
    done
}

refuse() {
    reason=$(field detail "$work/answer" | tr -d '\000-\037')
    case $status in
        000) fail 3 "cannot reach $HOTSWAP_URL" ;;
        401) fail 3 "the token is not accepted: ${reason:-401}" ;;
        403) fail 4 "not permitted: ${reason:-403}" ;;
        4*) fail 5 "$1: ${reason:-$status}" ;;
        *) fail 3 "$HOTSWAP_URL cannot do it now: ${reason:-$status}" ;;
    esac
}

# --- Pack: the same content gives the same bytes, so that a run that is repeated finds its release published already.
if [ -d "$module" ]; then
    archive=$work/module.tar.gz
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode='u+rwX,go=rX' --exclude-vcs \
        -C "$module" -cf - . | gzip -n > "$archive"
else
    archive=$module
fi
manifest=$(tar -xzOf "$archive" ./hotswap.yaml 2> /dev/null || tar -xzOf "$archive" hotswap.yaml) \
    || fail 2 "$module has no hotswap.yaml"
name=$(printf '%s\n' "$manifest" | sed -n "s/^name:[[:space:]]*[\"']\{0,1\}\([a-z0-9-]*\).*/\1/p" | head -n 1)
[ -n "$name" ] || fail 2 "hotswap.yaml of $module has no name"

# --- Sign and publish. The variable may hold the key, also by mistake: what it holds is not said, and not given to what
# would say it.
case $HOTSWAP_SIGNING_KEY in
    *-----BEGIN*) key=$work/key && printf '%s\n' "$HOTSWAP_SIGNING_KEY" > "$key" ;;
    *) key=$HOTSWAP_SIGNING_KEY ;;
esac
[ -r "$key" ] || fail 2 "HOTSWAP_SIGNING_KEY is neither a key nor a file that can be read"
openssl dgst -sha256 -binary -out "$work/digest" "$archive"
openssl pkeyutl -sign -rawin -inkey "$key" -in "$work/digest" -out "$work/signature" \
    || fail 2 "cannot sign with the key that HOTSWAP_SIGNING_KEY names"
signature=$(openssl base64 -A -in "$work/signature")
key_id=$(openssl pkey -in "$key" -pubout -outform DER | openssl dgst -sha256 -r | cut -c 1-16)
commit=$(quoted "$COMMIT")
branch=$(quoted "$BRANCH")
build_url=$(quoted "$BUILD_URL")
printf '{"commit": %s, "branch": %s, "buildUrl": %s}' "$commit" "$branch" "$build_url" > "$work/metadata"
request "/modules/$name/releases" --form "artifact=@$archive;type=application/gzip;filename=module.tar.gz" \
    --form-string "signature=$signature" --form-string "keyId=$key_id" --form "metadata=<$work/metadata"
case $status in
    200 | 201) ;;
    *) refuse "$name was not published" ;;
esac
version=$(field version "$work/answer")
echo "published: $name $version ($(field digest "$work/answer"))"

# --- Submit
[ -n "$version" ] || fail 3 "$HOTSWAP_URL answered without a version: is it a HotSwap server?"
target=$(quoted "$environment")
printf '{"moduleName": "%s", "version": "%s", "targetEnvironment": %s, "metadata": {"commit": %s, "buildUrl": %s}}' \
    "$name" "$version" "$target" "$commit" "$build_url" > "$work/body"
request /deployments --header "Content-Type: application/json" --data "@$work/body" \
    --header "Idempotency-Key: curl-$name-$version-$environment-$COMMIT-$RUN"
[ "$status" = 202 ] || refuse "$name $version was not deployed to $environment"
id=$(field executionId "$work/answer")
echo "deployment: $id, $api/deployments/$id"

# --- Wait
deadline=$(($(date +%s) + TIMEOUT))
last=
while :; do
    request "/deployments/$id"
    [ "$status" = 200 ] || refuse "the deployment $id cannot be looked at"
    now=$(field status "$work/answer")
    [ "$now" = "$last" ] || echo "$(date -u +%H:%M:%S) $now"
    last=$now
    case $now in
        Succeeded) exit 0 ;;
        Failed | RolledBack | Rejected | Expired | Cancelled | Superseded)
            field reason "$work/answer" | tr -d '\000-\037'
            echo
            # Behind a bar, so that nothing that a module wrote becomes a command to the build server.
            stages "$work/answer" | tr -d '\000-\011\013-\037\177' | sed 's/^/| /'
            exit 1
            ;;
        PendingApproval | Paused) fail 7 "it waits for a person" ;;
    esac
    [ "$(date +%s)" -lt "$deadline" ] || fail 6 "still running after $TIMEOUT s; it goes on"
    sleep "$POLL"
done
