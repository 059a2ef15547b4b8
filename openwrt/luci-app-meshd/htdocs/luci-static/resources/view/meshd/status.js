'use strict';
'require view';
'require rpc';
'require poll';
'require dom';

const ask = method => rpc.declare({ object: 'meshd', method });
const questions = [ 'status', 'neighbors', 'gateways', 'doctor' ].map(ask);

const load = () => Promise.all(questions.map(question => question().catch(() => ({ error: _('no answer') }))));

// What nodes call themselves is put in as text, never as HTML.
const cell = value => E('td', { 'class': 'td' }, [ document.createTextNode(value ?? '–') ]);

function table(titles, rows) {
	const head = E('tr', { 'class': 'tr table-titles' },
		titles.map(title => E('th', { 'class': 'th' }, [ title ])));
	return E('table', { 'class': 'table' },
		[ head ].concat(rows.map(row => E('tr', { 'class': 'tr' }, row.map(cell)))));
}

const nameOf = node => node.name ?? (node.originator_id ?? '').slice(0, 8);
const percent = share => `${Math.round(share * 100)} %`;

function internetOf(status) {
	const internet = status.internet ?? {};
	if (!internet.online)
		return _('no');
	return internet.via ? `${_('yes, through')} ${nameOf(internet.via)}` : _('yes');
}

const statusOf = status => table([ _('Internet'), _('Node'), _('Mesh IPv6'), _('Mesh IPv4'), _('Neighbors'), _('Nodes') ],
	[ [ internetOf(status), status.name, status.mesh_ipv6, status.mesh_ipv4, status.neighbors, status.originators ] ]);

const neighborsOf = answer => table([ _('Neighbor'), _('Interface'), _('Heard'), _('Hears us'), _('Last heard') ],
	(answer.neighbors ?? []).map(neighbor => [ nameOf(neighbor), neighbor.interface, percent(neighbor.rx_quality),
		percent(neighbor.tx_quality), `${neighbor.last_heard_ms} ms` ]));

const gatewaysOf = answer => table([ _('Gateway'), _('Used for'), _('Hops'), _('Tunnel'), _('Price (atto-SMT/MiB)'), _('Why') ],
	(answer.gateways ?? []).map(gateway => [ nameOf(gateway), (gateway.used_for ?? []).join(' '), gateway.hops,
		gateway.tunnel, gateway.price_atto_per_mib, gateway.reason ]));

const doctorOf = answer => table([ _('Problem'), _('What to do') ],
	(answer.findings ?? []).map(finding => [ finding.problem, finding.advice ]));

function render([ status, neighbors, gateways, doctor ]) {
	if (status.error)
		return [ E('p', { 'class': 'alert-message warning' }, [ document.createTextNode(status.error) ]) ];
	return [ statusOf(status), E('h3', {}, [ _('Neighbors') ]), neighborsOf(neighbors),
		E('h3', {}, [ _('Gateways') ]), gatewaysOf(gateways),
		E('h3', {}, [ _('Problems') ]), doctorOf(doctor) ];
}

return view.extend({
	load,

	render(answers) {
		const state = E('div', {}, render(answers));
		poll.add(() => load().then(newer => dom.content(state, render(newer))), 5);
		return E('div', {}, [ E('h2', {}, [ _('Mesh') ]), state ]);
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});
