'use strict';
'require view';
'require form';
'require tools.widgets as widgets';

// Options of one section: [kind of input, name, title, what is shown while nothing is set].
const MAIN = [
	[ form.Flag, 'enabled', _('Run meshd') ],
	[ form.Value, 'network', _('Name of the mesh, the same on every node') ],
	[ form.Value, 'network_key', _('File with the secret of the mesh') ],
	[ form.Value, 'name', _('Name of this node'), _('the host name') ],
	[ form.Value, 'position', _('Latitude and longitude, for everybody in the mesh') ],
	[ form.Value, 'identity', _('File of this node\'s key'), '/etc/meshd/identity.key' ],
	[ form.Value, 'state', _('Receipts and counters, on flash'), '/etc/meshd/state' ],
	[ form.Value, 'control', _('Socket for meshctl'), '/var/run/meshd/control.sock' ],
	[ form.Value, 'control_group', _('Group that may use it') ],
	[ form.Value, 'control_read_only', _('Who may ask and change nothing: all, off, or a group'), 'all' ],
	[ form.Value, 'tunnel', _('Tunnel: auto, wireguard or vxlan'), 'auto' ],
	[ form.Value, 'log_level', _('Log level'), 'info' ],
	[ form.Flag, 'jail', _('In a file system of its own') ],
];
const MESH = [
	[ form.Flag, 'enabled', _('Use it') ],
	[ widgets.NetworkSelect, 'interface', _('Network') ],
	[ form.Value, 'device', _('or device') ],
	[ form.Value, 'station_data', _('What the driver says of neighbors counts: on or off'), 'on' ],
];
const LAN = [
	[ form.Flag, 'enabled', _('Use it') ],
	[ widgets.NetworkSelect, 'interface', _('Network') ],
	[ form.Value, 'device', _('or device') ],
	[ form.Value, 'mode', _('masquerade or routed'), 'masquerade' ],
	[ form.DynamicList, 'prefixes', _('Prefixes, with routed') ],
];
const UPLINKS = [
	[ form.Value, 'use', _('auto, off, or listed'), 'auto' ],
	[ form.Value, 'bandwidth', _('DOWN/UP, with auto') ],
	[ form.DynamicList, 'check', _('Who is asked whether it works') ],
	[ form.DynamicList, 'resolvers', _('Resolvers that are offered') ],
];
const UPLINK = [
	[ form.Flag, 'enabled', _('Use it') ],
	[ widgets.NetworkSelect, 'interface', _('Network') ],
	[ form.Value, 'device', _('or device') ],
	[ form.Value, 'bandwidth', _('DOWN/UP') ],
];
const GATEWAYS = [
	[ form.DynamicList, 'prefer', _('Used before all others') ],
	[ form.DynamicList, 'avoid', _('Used only when nothing else is left') ],
	[ form.DynamicList, 'never', _('Not used') ],
	[ form.Value, 'pin', _('This one or none') ],
	[ form.Value, 'maximum_price', _('What is paid at most, in atto-SMT per MiB'), '0' ],
];
const SHARING = [
	[ form.Value, 'fee', _('Fee, in atto-SMT per MiB'), '0' ],
	[ form.Value, 'credit', _('Credit of neighbors'), '8MiB' ],
	[ form.Value, 'stranger_credit', _('Credit of strangers'), '1MiB' ],
	[ form.Value, 'free_rate', _('Rate without credit'), '256k' ],
	[ form.DynamicList, 'settlement', _('Addresses that can always be reached') ],
	[ form.Value, 'throughput_tests', _('Others may measure the way here: allowed or refused'), 'allowed' ],
];
const STATUS_PAGE = [
	[ form.DynamicList, 'listen', _('ADDRESS:PORT of a LAN') ],
	[ form.DynamicList, 'host_names', _('What else the router is called') ],
	[ form.Value, 'metrics', _('For Prometheus: on or off'), 'on' ],
];
const NUMBERS = [
	[ form.Value, 'tables', _('First routing table'), '5525' ],
	[ form.Value, 'rules', _('First priority of rules'), '31000' ],
	[ form.Value, 'last_rule', _('Last priority'), '32800' ],
	[ form.Value, 'mark_bit', _('Lowest bit of marks'), '24' ],
];

function add(section, options, isSwitch) {
	for (const [ kind, name, title, placeholder ] of options) {
		const option = section.option(kind, name, title);
		option.optional = true;
		option.rmempty = true;
		if (placeholder !== undefined)
			option.placeholder = placeholder;
		if (kind === form.Flag && isSwitch)
			option.default = option.enabled;
	}
}

return view.extend({
	render() {
		const map = new form.Map('meshd', _('Mesh'), _('Radios of the mesh are set up under Wireless.'));
		const one = (name, kind, title, options) =>
			add(map.section(form.NamedSection, name, kind, title), options, false);
		const several = (kind, title, options) => {
			const section = map.section(form.TypedSection, kind, title);
			section.addremove = true;
			add(section, options, true);
		};
		one('main', 'meshd', _('This node'), MAIN);
		several('mesh', _('Where other nodes are heard'), MESH);
		several('lan', _('Where people\'s devices are'), LAN);
		one('uplinks', 'uplinks', _('This node\'s ways to the Internet'), UPLINKS);
		several('uplink', _('Listed ways to the Internet'), UPLINK);
		one('gateways', 'gateways', _('Gateways'), GATEWAYS);
		one('sharing', 'sharing', _('Terms'), SHARING);
		one('status_page', 'status_page', _('Page for people on the LANs'), STATUS_PAGE);
		one('numbers', 'numbers', _('Numbers of the kernel'), NUMBERS);
		return map.render();
	}
});
