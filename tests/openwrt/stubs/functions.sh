# What OpenWrt's functions.sh offers to read /etc/config, whose syntax is that of a shell.
# shellcheck shell=dash disable=SC2034,SC2154

config_load() {
	local name
	for name in $(set | sed -n 's/^\(CONFIG_[A-Za-z0-9_]*\)=.*/\1/p'); do
		unset "$name"
	done
	CONFIG_COUNT=0
	# shellcheck source=/dev/null
	. "$IPKG_INSTROOT/etc/config/$1"
}

config() {
	CONFIG_COUNT=$((CONFIG_COUNT + 1))
	CONFIG_SECTION=${2:-cfg$CONFIG_COUNT}
	CONFIG_SECTIONS="$CONFIG_SECTIONS $CONFIG_SECTION"
	eval "CONFIG_${CONFIG_SECTION}_TYPE=\$1"
}

option() {
	eval "CONFIG_${CONFIG_SECTION}_$1=\$2"
}

list() {
	local length old
	eval "length=\${CONFIG_${CONFIG_SECTION}_$1_LENGTH:-0}; old=\${CONFIG_${CONFIG_SECTION}_$1:-}"
	length=$((length + 1))
	eval "CONFIG_${CONFIG_SECTION}_$1_LENGTH=$length; CONFIG_${CONFIG_SECTION}_$1_ITEM$length=\$2"
	eval "CONFIG_${CONFIG_SECTION}_$1=\${old:+\$old }\$2"
}

config_get() {
	eval "$1=\${CONFIG_${2}_${3}:-\$4}"
}

config_get_bool() {
	local _value
	config_get _value "$2" "$3" "$4"
	case $_value in
		1 | on | true | yes | enabled) eval "$1=1" ;;
		*) eval "$1=0" ;;
	esac
}

config_foreach() {
	local _section _type
	for _section in $CONFIG_SECTIONS; do
		config_get _type "$_section" TYPE
		[ "$_type" != "$2" ] || "$1" "$_section"
	done
}

# A plain option is a list of one.
config_list_foreach() {
	local _length _item _n=1
	config_get _length "$1" "$2_LENGTH"
	if [ -z "$_length" ]; then
		config_get _item "$1" "$2"
		[ -z "$_item" ] || "$3" "$_item"
		return 0
	fi
	while [ "$_n" -le "$_length" ]; do
		config_get _item "$1" "$2_ITEM$_n"
		"$3" "$_item"
		_n=$((_n + 1))
	done
}
