// What meshctl says, for ubus: `ubus call meshd status`. It asks and changes nothing.

'use strict';

import { popen } from 'fs';

// Only these, and without arguments: nothing that comes from outside reaches a command line.
const questions = [ 'status', 'neighbors', 'originators', 'gateways', 'interfaces', 'doctor' ];

function ask(question) {
	const pipe = popen(`/usr/sbin/meshctl --json --timeout 3 ${question} 2>/dev/null`, 'r');
	if (!pipe)
		return { error: 'meshctl cannot be run' };
	const text = pipe.read('all');
	// doctor ends with 1 or 7 for what it finds, and says it all the same.
	const ended = pipe.close();
	let answer = null;
	try {
		answer = json(text);
	}
	catch (e) {
		answer = null;
	}
	return answer ?? { error: (ended == 3) ? 'meshd is not running' : `meshctl ended with ${ended}` };
}

const methods = {};

for (let question in questions) {
	const asked = question;
	methods[asked] = { call: () => ask(asked) };
}

return { meshd: methods };
