# shellcheck shell=dash
# /etc/config/meshd as meshd reads it: `meshd_render` prints YAML. Needs /lib/functions.sh and
# /lib/functions/network.sh, whose names
# config, option and list are taken.

# yaml_quoted TEXT: as YAML takes it, whatever is in it.
yaml_quoted() {
	printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"
}

# yaml_entry INDENT KEY TEXT: nothing if there is no text.
yaml_entry() {
	[ -z "$3" ] || printf '%s%s: %s\n' "$1" "$2" "$(yaml_quoted "$3")"
}

# yaml_option INDENT SECTION OPTION [DEFAULT]
yaml_option() {
	local value
	config_get value "$2" "$3" "$4"
	yaml_entry "$1" "$3" "$value"
}

append_item() {
	items="${items:+$items, }$(yaml_quoted "$1")"
}

# yaml_list INDENT SECTION OPTION [WORD...]: an option that has one of the words alone is no list.
yaml_list() {
	local indent=$1 section=$2 option=$3 value word items=
	shift 3
	config_get value "$section" "$option"
	for word; do
		if [ "$value" = "$word" ]; then
			yaml_entry "$indent" "$option" "$value"
			return
		fi
	done
	config_list_foreach "$section" "$option" append_item
	[ -z "$items" ] || printf '%s%s: [%s]\n' "$indent" "$option" "$items"
}

# device_of SECTION: prints the device of a section that is in use and has one by now.
device_of() {
	local enabled device interface
	config_get_bool enabled "$1" enabled 1
	[ "$enabled" = 1 ] || return 1
	config_get device "$1" device
	if [ -z "$device" ]; then
		config_get interface "$1" interface
		[ -n "$interface" ] || return 1
		network_get_device device "$interface" || return 1
	fi
	[ -n "$device" ] && printf '%s' "$device"
}

render_mesh() {
	local device
	device=$(device_of "$1") || return 0
	yaml_entry '  - ' interface "$device"
	yaml_option '    ' "$1" station_data
}

render_lan() {
	local device
	device=$(device_of "$1") || return 0
	yaml_entry '  - ' interface "$device"
	yaml_option '    ' "$1" mode
	yaml_list '    ' "$1" prefixes
}

# render_all TYPE: what its sections make; 1 and nothing if that is nothing.
render_all() {
	local rendered
	rendered=$(config_foreach "render_$1" "$1")
	[ -n "$rendered" ] || return 1
	printf '%s:\n%s\n' "$1" "$rendered"
}

append_uplink() {
	local device bandwidth
	device=$(device_of "$1") || return 0
	devices="${devices:+$devices, }$(yaml_quoted "$device")"
	config_get bandwidth "$1" bandwidth
	[ -z "$bandwidth" ] || bandwidths="${bandwidths:+$bandwidths, }$(yaml_quoted "$device"): $(yaml_quoted "$bandwidth")"
}

# Listed ones of which none is there share nothing, which is not what `auto` does.
render_uplinks() {
	local use devices='' bandwidths=''
	config_get use uplinks use auto
	printf 'uplink:\n'
	if [ "$use" != listed ]; then
		yaml_entry '  ' interface "$use"
		yaml_option '  ' uplinks bandwidth
	else
		config_foreach append_uplink uplink
		[ -n "$devices" ] && devices="[$devices]"
		printf '  interface: %s\n' "${devices:-'off'}"
		[ -z "$bandwidths" ] || printf '  bandwidth: {%s}\n' "$bandwidths"
	fi
	yaml_list '  ' uplinks check on off
	yaml_list '  ' uplinks resolvers auto
}

render_gateways() {
	printf 'gateways:\n'
	yaml_list '  ' gateways prefer
	yaml_list '  ' gateways avoid
	yaml_list '  ' gateways never
	yaml_option '  ' gateways pin
	yaml_option '  ' gateways maximum_price
}

render_sharing() {
	printf 'sharing:\n'
	yaml_option '  ' sharing fee
	yaml_option '  ' sharing credit
	yaml_option '  ' sharing stranger_credit
	yaml_option '  ' sharing free_rate
	yaml_list '  ' sharing settlement
	yaml_option '  ' sharing throughput_tests
}

# Without an address there is no page.
render_status_page() {
	local listen
	listen=$(yaml_list '  ' status_page listen)
	[ -n "$listen" ] || return 0
	printf 'status_page:\n%s\n' "$listen"
	yaml_list '  ' status_page host_names
	yaml_option '  ' status_page metrics
}

render_numbers() {
	printf 'numbers:\n'
	yaml_option '  ' numbers tables
	yaml_option '  ' numbers rules
	yaml_option '  ' numbers last_rule
	yaml_option '  ' numbers mark_bit
}

# Prints the configuration; 1 if no mesh interface is there yet.
meshd_render() {
	config_load meshd
	printf '# Made of /etc/config/meshd. Changes are lost.\n'
	yaml_option '' main network
	yaml_option '' main network_key
	yaml_option '' main name
	yaml_option '' main position
	yaml_option '' main identity /etc/meshd/identity.key
	yaml_option '' main state /etc/meshd/state
	yaml_option '' main control /var/run/meshd/control.sock
	yaml_option '' main control_group
	yaml_option '' main control_read_only
	yaml_option '' main tunnel
	render_all mesh || return 1
	render_all lan || true
	render_uplinks
	render_gateways
	render_sharing
	render_status_page
	render_numbers
}
