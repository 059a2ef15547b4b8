# What netifd knows: a file of networks and their devices.
# shellcheck shell=dash

network_get_device() {
	local _device
	_device=$(sed -n "s/^$2 //p" "$IPKG_INSTROOT/networks")
	[ -n "$_device" ] && eval "$1=\$_device"
}
