# shellcheck shell=bash disable=SC2034  # what is set here is read there
#
# What onboard and offboard share: their options, who is meant on which
# resource, and az, through which everything is read and written.

export LC_ALL=C.UTF-8

# an az that fails ends the script, from within a substitution too
shopt -s inherit_errexit

role="Cognitive Services OpenAI User"
resource=""             # its id
resource_name=""        # for people
resource_group=""
dry_run=""
kind=""                 # user, group, app or identity
name=""                 # as it was given
who=""                  # for people
object_id=""            # of the principal
principal_type=""       # as az has it

usage_of_both='WHO is one of

  --user NAME        a person: user principal name, or object id
  --group NAME       a group of Entra ID: its name, or object id
  --app ID           an app registration: its client id
  --identity ID      a managed identity: the resource id of a user-assigned
                     one, or the client id or object id of any

  --resource RESOURCE       the resource: its id, "/subscriptions/...", or its
                            name together with
  --resource-group GROUP    the resource group that it is in
  --role ROLE               another role than that one
  --dry-run                 reads, but only prints what it would write
  --help                    prints this

az has to be logged in ("az login") as somebody who may assign roles there:
Owner, User Access Administrator or Role Based Access Control Administrator.'


say() {
    printf '%s\n' "$*" | fold -s -w 79 | sed 's/ *$//'
}


die() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}


# read_az ARGUMENT ...: prints what az does, or ends with its reason
read_az() {
    local errors output

    errors=$(mktemp)

    if output=$(az "$@" 2> "$errors"); then
        rm -f "$errors"
        [ -z "$output" ] || printf '%s\n' "$output"
        return
    fi

    output=$(grep -m 1 '^ERROR:' "$errors" || head -n 1 "$errors")
    output=${output#ERROR: }
    rm -f "$errors"

    case $output in
    *AuthorizationFailed*|*"does not have authorization"*)
        output="$output
You need the role Owner, User Access Administrator or Role Based Access Control
Administrator there." ;;
    esac

    die "az $1 $2 $3: ${output:-it failed and does not say why}"
}


# write COMMAND ...: runs it, or with --dry-run prints it
write() {
    if [ -n "$dry_run" ]; then
        printf 'would run:'
        printf ' %q' "$@"
        printf '\n'
        return
    fi

    shift
    read_az "$@"
}


# prepare ARGUMENT ...: sets all of the above
prepare() {
    read_options "$@"

    command -v az > /dev/null \
        || die "az is not installed: see https://aka.ms/InstallAzureCli"

    find_resource
    find_principal
}


read_options() {
    local option

    while [ $# -ne 0 ]; do
        option=$1

        case $option in
        --help) usage; exit ;;
        --dry-run) dry_run=yes; shift; continue ;;
        --*=*) set -- "${option%%=*}" "${option#*=}" "${@:2}"; continue ;;
        --user|--group|--app|--identity|--resource|--resource-group|--role) ;;
        *) die "there is no option \"$option\", see --help" ;;
        esac

        # what begins with a dash would be an option of az

        case ${2-} in
        ""|-*) die "$option needs a value, see --help" ;;
        esac

        case $option in
        --resource) resource=$2 ;;
        --resource-group) resource_group=$2 ;;
        --role) role=$2 ;;
        *)
            [ -z "$kind" ] || die "--$kind and $option: one at a time"
            kind=${option#--}
            name=$2
        esac

        shift 2
    done

    [ -n "$resource" ] || die "--resource is missing, see --help"
    [ -n "$kind" ] || die "who is missing, see --help"
}


find_resource() {
    case $resource in
    /subscriptions/*/providers/Microsoft.CognitiveServices/accounts/*)
        resource_name=${resource##*/}
        return ;;
    /*)
        die "\"$resource\" is no id of an Azure OpenAI resource, which is
/subscriptions/.../providers/Microsoft.CognitiveServices/accounts/NAME" ;;
    esac

    [ -n "$resource_group" ] \
        || die "--resource with a name needs --resource-group"

    resource_name=$resource
    resource=$(read_az cognitiveservices account show --name "$resource" \
        --resource-group "$resource_group" --query id --output tsv)
}


find_principal() {
    case $kind in

    user)
        who="The user $name"
        principal_type=User
        object_id=$(read_az ad user show --id "$name" \
            --query id --output tsv) ;;

    group)
        who="The group $name"
        principal_type=Group
        object_id=$(read_az ad group show --group "$name" \
            --query id --output tsv) ;;

    app)
        who="The app $name"
        principal_type=ServicePrincipal
        object_id=$(read_az ad sp show --id "$name" \
            --query id --output tsv) ;;

    identity)
        who="The managed identity ${name##*/}"
        principal_type=ServicePrincipal

        case $name in
        /*) object_id=$(read_az identity show --ids "$name" \
                --query principalId --output tsv) ;;
        *) object_id=$(read_az ad sp show --id "$name" \
               --query id --output tsv) ;;
        esac
    esac

    # it becomes a part of a query

    [[ $object_id =~ ^[0-9A-Fa-f-]{36}$ ]] \
        || die "az names no object id for \"$name\""
}


# Prints the ids of the role's assignments to WHO on the resource itself.
assignments() {
    read_az role assignment list --scope "$resource" --role "$role" \
        --query "[?principalId=='$object_id'].id" --output tsv
}
