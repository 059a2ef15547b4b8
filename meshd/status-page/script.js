// What /status.json says, shown anew every two seconds. ECMAScript 5, for old phones. Names come from strangers:
// every text goes in as textContent.
(function () {
'use strict';

var EVERY_MS = 2000, PATIENCE_MS = 8000, REMEMBERED = 45, SVG = 'http://www.w3.org/2000/svg';
// Of the map, in its own units: about the pixels of a small telephone.
var WIDTH = 332;
// On a larger map only this node and gateways have their names written beside them.
var NAMED_AT_MOST = 24;

var TEXTS = {
en: {
other: '中文',
title: '{0}: mesh status',
network: 'Mesh “{0}”',
yes: 'Internet: yes',
no: 'Internet: no',
own_line: 'over this router’s own line, {0}, for {1}',
through: 'through {0}, {1}, for {2}',
through6: 'IPv6 through {0}',
no_since: 'for {0}; before that through {1}',
no_since_own: 'for {0}',
never: 'not once since this router started, {0} ago',
hop: '1 hop', hops: '{0} hops', here: 'this router', unreachable: 'not in reach',
path: 'Path to the Internet',
more: '{0} more', internet: 'Internet',
neighbors: 'Neighbors',
alone: 'No other router is heard.',
aim: 'Fresh every 2 seconds: turn the antenna until the number is highest (−50 is stronger than −70).',
q5: 'excellent', q4: 'good', q3: 'fair', q2: 'weak', q1: 'very weak', q0: 'no connection',
arrives: '{0} % arrive', silent: 'silent for {0}',
map: 'Map', nodes: '{0} routers',
legend_own: '● this router', legend_gateway: '■ has Internet', legend_other: '○ router',
legend_way: '┄ over unknown routers',
chosen: '{0}: {1}', gateway: 'has Internet',
traffic: 'Traffic', day: 'last 24 h', ever: 'ever',
shared: 'Shared with others', received: 'Received',
earnings: 'Earnings', earned: 'Earned by sharing', paid: 'Paid to neighbors',
s: '{0} s', min: '{0} min', h: '{0} h', d: '{0} d',
lost: 'This router does not answer. Trying again…',
other_schema: 'This page is older than the router. Reload it.',
footer: 'meshd {0}, running for {1}'
},
zh: {
other: 'English',
title: '{0}：网络状态',
network: '网状网络“{0}”',
yes: '互联网：已连接',
no: '互联网：未连接',
own_line: '使用本路由器自己的线路 {0}，已持续 {1}',
through: '经由 {0}，{1}，已持续 {2}',
through6: 'IPv6 经由 {0}',
no_since: '已中断 {0}；此前经由 {1}',
no_since_own: '已中断 {0}',
never: '自本路由器 {0}前启动以来从未连接',
hop: '1 跳', hops: '{0} 跳', here: '本路由器', unreachable: '无法到达',
path: '通往互联网的路径',
more: '另外 {0} 台', internet: '互联网',
neighbors: '邻居',
alone: '没有听到其他路由器。',
aim: '每 2 秒刷新：转动天线，直到数值最大（−50 比 −70 强）。',
q5: '极好', q4: '良好', q3: '一般', q2: '弱', q1: '很弱', q0: '无连接',
arrives: '到达 {0} %', silent: '已静默 {0}',
map: '地图', nodes: '{0} 台路由器',
legend_own: '● 本路由器', legend_gateway: '■ 有互联网', legend_other: '○ 路由器',
legend_way: '┄ 中间路由器未知',
chosen: '{0}：{1}', gateway: '有互联网',
traffic: '流量', day: '最近 24 小时', ever: '累计',
shared: '分享给他人', received: '接收',
earnings: '收益', earned: '分享所得', paid: '付给邻居',
s: '{0} 秒', min: '{0} 分钟', h: '{0} 小时', d: '{0} 天',
lost: '路由器没有应答，正在重试……',
other_schema: '本页面比路由器旧，请重新加载。',
footer: 'meshd {0}，已运行 {1}'
}
};

var language = /^zh/i.test(navigator.language || navigator.userLanguage || '') ? 'zh' : 'en';
var last = null, drawn = '', chosen = null, heard = {};

function text(key) {
var args = arguments;
return TEXTS[language][key].replace(/\{(\d)\}/g, function (_, at) { return args[+at + 1]; });
}

function byId(id) { return document.getElementById(id); }

function put(id, words) {
var element = byId(id);
// What is read aloud when it changes must not change otherwise.
if (element.textContent !== words) { element.textContent = words; }
}

function show(id, is) { byId(id).hidden = !is; }

function add(parent, tag, kind, words) {
var element = document.createElement(tag);
if (kind) { element.className = kind; }
if (words !== undefined) { element.textContent = words; }
parent.appendChild(element);
return element;
}

function draw(parent, tag, attributes) {
var element = document.createElementNS(SVG, tag), name;
for (name in attributes) { element.setAttribute(name, attributes[name]); }
parent.appendChild(element);
return element;
}

function clear(element) {
while (element.firstChild) { element.removeChild(element.firstChild); }
}

// Without what would turn the text around it, or be no letter at all.
function nameOf(node) {
var name = String(node.name || '');
name = name.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, '').slice(0, 40);
return name || String(node.originator_id).slice(0, 8);
}

function duration(s) {
if (s < 100) { return text('s', s); }
if (s < 6000) { return text('min', Math.round(s / 60)); }
if (s < 172800) { return text('h', Math.round(s / 3600)); }
return text('d', Math.round(s / 86400));
}

function hops(count) {
if (count === 0) { return text('here'); }
if (count === null || count === undefined) { return text('unreachable'); }
return count === 1 ? text('hop') : text('hops', count);
}

function bytes(count) {
var units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'], at = 0;
while (count >= 1000 && at < units.length - 1) { count /= 1024; at += 1; }
return (at === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)) + ' ' + units[at];
}

// Of the digits of an amount in units of 10^-18, four that count.
function smt(atto) {
var digits = String(atto).replace(/\D/g, ''), whole, rest, zeros;
while (digits.length < 19) { digits = '0' + digits; }
whole = digits.slice(0, -18);
rest = digits.slice(-18);
zeros = whole === '0' ? /^0*/.exec(rest)[0].length : 0;
rest = rest.slice(0, zeros + 4).replace(/0+$/, '');
return whole + (rest ? '.' + rest : '') + ' SMT';
}

function grade(neighbor) {
var limits, value, at;
if (!neighbor.usable) { return 0; }
if (neighbor.signal_dbm !== null) {
limits = [-80, -72, -65, -55];
value = neighbor.signal_dbm;
} else {
limits = [0.3, 0.5, 0.7, 0.9];
value = neighbor.tq / 255;
}
for (at = 0; at < 4 && value >= limits[at]; at += 1) { }
return at + 1;
}

function percent(neighbor) { return Math.round(neighbor.tq / 2.55); }

function showInternet(page) {
var way = page.internet, line;
byId('internet').className = 'card ' + (way.online ? 'online' : 'offline');
put('mark', way.online ? '✓' : '✗');
put('answer', text(way.online ? 'yes' : 'no'));
if (way.online && way.own_uplink !== null) {
line = text('own_line', way.own_uplink, duration(way.since_s));
} else if (way.online) {
line = text('through', nameOf(way.via), hops(way.hops), duration(way.since_s));
} else if (way.last_online_s === null) {
line = text('never', duration(page.uptime_s));
} else if (way.via) {
line = text('no_since', duration(way.since_s), nameOf(way.via));
} else {
line = text('no_since_own', duration(way.since_s));
}
put('through', line);
show('through6', !!way.ipv6_via);
put('through6', way.ipv6_via ? text('through6', nameOf(way.ipv6_via)) : '');
}

function showPath(page) {
var path = byId('path');
show('way', page.path.length > 0);
clear(path);
function hop(kind, words) {
var item = document.createElement('li');
if (path.firstChild) { add(item, 'span', 'arrow', '→ '); }
add(item, 'span', 'hop name ' + kind, words);
path.appendChild(item);
// Between items there may be a new line.
path.appendChild(document.createTextNode(' '));
}
page.path.forEach(function (step, at) {
if (step.hops > 1) { hop('unknown', text('more', step.hops - 1)); }
hop(at === 0 ? 'first' : '', nameOf(step.node));
});
hop('last', text('internet'));
}

function bars(parent, count) {
var svg = draw(parent, 'svg', { 'class': 'bars', width: 34, height: 28, viewBox: '0 0 34 28', 'aria-hidden': 'true' }), at;
for (at = 0; at < 5; at += 1) {
draw(svg, 'rect', {
x: at * 7 + 0.5, y: 22 - at * 5 + 0.5, width: 5, height: 5 + at * 5,
'class': at < count ? 'full' : ''
});
}
}

function keyOf(neighbor) { return neighbor.originator_id + ' ' + neighbor.interface; }

// Who is not heard any more is forgotten.
function remember(neighbors) {
var before = heard;
heard = {};
neighbors.forEach(function (neighbor) {
var list = before[keyOf(neighbor)] || [];
list.push(neighbor.signal_dbm !== null ? neighbor.signal_dbm : percent(neighbor));
if (list.length > REMEMBERED) { list.shift(); }
heard[keyOf(neighbor)] = list;
});
}

// The last minute and a half, so that one sees which turn was the right one.
function trend(parent, list) {
var low = Math.min.apply(null, list), high = Math.max.apply(null, list), middle = (low + high) / 2;
var span = Math.max(high - low, 10), svg, points;
if (list.length < 2) { return; }
svg = draw(parent, 'svg', { 'class': 'trend', viewBox: '0 0 ' + (REMEMBERED - 1) + ' 28', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
points = list.map(function (value, at) {
return (REMEMBERED - list.length + at) + ',' + (14 - (value - middle) / span * 22).toFixed(1);
});
draw(svg, 'polyline', { points: points.join(' ') });
}

function showNeighbors(page) {
var list = byId('neighbors');
show('alone', page.neighbors.length === 0);
clear(list);
page.neighbors.forEach(function (neighbor) {
var item = add(list, 'li'), row = add(item, 'div', 'row'), count = grade(neighbor), box, number, note;
bars(row, count);
box = add(row, 'div', 'grow');
add(box, 'b', 'name', nameOf(neighbor));
note = neighbor.last_heard_ms > 10000 ? text('silent', duration(Math.round(neighbor.last_heard_ms / 1000)))
: text('arrives', percent(neighbor));
add(box, 'small', 'name', neighbor.interface + ' · ' + note);
number = add(row, 'div', 'number');
if (neighbor.signal_dbm !== null) {
number.textContent = String(neighbor.signal_dbm).replace('-', '−');
add(number, 'small', '', ' dBm');
} else {
number.textContent = String(percent(neighbor));
add(number, 'small', '', ' %');
}
add(number, 'span', '', text('q' + count));
trend(box, heard[keyOf(neighbor)]);
});
}

// Of each node the way from this one over the fewest hops: where it comes from, and how far it is.
function treeOf(map) {
var tree = map.nodes.map(function () { return { from: -1, far: Infinity, below: [], weight: 0 }; });
var changed = true, order;
tree[0].far = 0;
function relax(a, b, hops) {
if (tree[a].far + hops < tree[b].far) { tree[b].far = tree[a].far + hops; tree[b].from = a; changed = true; }
}
while (changed) {
changed = false;
map.lines.forEach(function (line) {
var length = line.hops || 1;
relax(line.from, line.to, length);
relax(line.to, line.from, length);
});
}
order = tree.map(function (_, at) { return at; }).sort(function (a, b) { return tree[b].far - tree[a].far; });
order.forEach(function (at) {
var node = tree[at];
node.weight = Math.max(node.weight, 1);
if (node.from >= 0) {
tree[node.from].below.push(at);
tree[node.from].weight += node.weight;
}
});
tree.forEach(function (node) { node.below.sort(function (a, b) { return a - b; }); });
return tree;
}

// Rings of hops around this node, each branch in a sector as wide as it has nodes.
function ringPlaces(map) {
var tree = treeOf(map), places = [], lost = [];
function spread(at, begin, width) {
var total = 0, angle = begin, node = tree[at];
node.below.forEach(function (child) { total += tree[child].weight; });
node.below.forEach(function (child) {
var part = width * tree[child].weight / total, middle = angle + part / 2;
// Every other one of a crowd stands a little further out.
var radius = tree[child].far + (node.below.length > 6 ? (node.below.indexOf(child) % 3 - 1) * 0.22 : 0);
places[child] = { x: radius * Math.cos(middle), y: radius * Math.sin(middle) };
// As a bunch, not all around.
var bunch = Math.min(part, 0.4 * tree[child].weight);
spread(child, middle - bunch / 2, bunch);
angle += part;
});
}
places[0] = { x: 0, y: 0 };
spread(0, -Math.PI, 2 * Math.PI);
tree.forEach(function (node, at) { if (!places[at]) { lost.push(at); } });
return { places: places, lost: lost };
}

// North is up, and a degree of longitude is shorter away from the equator.
function truePlaces(map) {
var own = map.nodes[0].position || map.nodes.filter(function (node) { return node.position; })[0].position;
var narrow = Math.cos(own.latitude_udeg / 1e6 * Math.PI / 180), lost = [];
var places = map.nodes.map(function (node, at) {
if (!node.position) { lost.push(at); return null; }
return { x: node.position.longitude_udeg * narrow, y: -node.position.latitude_udeg };
});
return { places: places, lost: lost };
}

// Into so many pixels, those without a place in rows below. Rings may become ovals.
function fitted(found, count, width, isTrue) {
var edge = count > NAMED_AT_MOST ? 20 : 34, known = found.places.filter(Boolean), height;
function bounds(axis) {
var all = known.map(function (place) { return place[axis]; });
return { low: Math.min.apply(null, all), high: Math.max.apply(null, all) };
}
var x = bounds('x'), y = bounds('y');
// A few need no more room than it takes to tell them apart.
var most = Math.min(110 + count * 10, 460);
var wide = (width - 2 * edge) / Math.max(x.high - x.low, 1e-9), tall = most / Math.max(y.high - y.low, 1e-9);
if (isTrue) { wide = tall = Math.min(wide, tall); } else { tall = Math.min(tall, wide * 1.4); wide = Math.min(wide, tall * 1.4); }
if (known.length === 1) { wide = tall = 0; }
height = Math.max((y.high - y.low) * tall + 2 * edge, 84);
var left = (width - (x.high - x.low) * wide) / 2, top = (height - (y.high - y.low) * tall) / 2;
var places = found.places.map(function (place) {
return place && { x: left + (place.x - x.low) * wide, y: top + (place.y - y.low) * tall };
});
var perRow = Math.max(Math.floor(width / 60), 1);
found.lost.forEach(function (at, index) {
places[at] = { x: 30 + (index % perRow) * 60, y: height + 14 + Math.floor(index / perRow) * 40 };
});
if (found.lost.length) { height += 14 + Math.ceil(found.lost.length / perRow) * 40; }
return { places: places, height: height };
}

function isUsed(page, line) {
var ids = page.path.map(function (step) { return step.node.originator_id; });
var from = ids.indexOf(page.map.nodes[line.from].originator_id);
var to = ids.indexOf(page.map.nodes[line.to].originator_id);
return from >= 0 && to >= 0 && Math.abs(from - to) === 1;
}

function showMap(page) {
var map = page.map, now = JSON.stringify([map, page.path, language, chosen]);
if (now === drawn) { return; }
drawn = now;
var box = byId('map'), few = map.nodes.length <= NAMED_AT_MOST;
var located = map.nodes.filter(function (node) { return node.position; }).length;
var fit = fitted(located > 1 ? truePlaces(map) : ringPlaces(map), map.nodes.length, WIDTH, located > 1);
clear(box);
var svg = draw(box, 'svg', { viewBox: '0 0 ' + WIDTH + ' ' + Math.ceil(fit.height), role: 'img', 'aria-label': text('map') });
map.lines.forEach(function (line) { drawLine(svg, page, line, fit.places); });
map.nodes.forEach(function (node, at) { drawNode(svg, node, at, fit.places[at], few); });
// What is written lies above what is drawn.
if (few) { map.lines.forEach(function (line) { nameLine(svg, line, fit.places); }); }
map.nodes.forEach(function (node, at) {
if (few || at === 0 || node.gateway) { nameNode(svg, node, at, fit.places[at], few); }
});
put('size', text('nodes', map.nodes.length));
}

function drawLine(svg, page, line, places) {
var a = places[line.from], b = places[line.to];
var kind = (line.tq === null ? 'way' : 'link') + (isUsed(page, line) ? ' used' : '');
draw(svg, 'line', { x1: a.x.toFixed(1), y1: a.y.toFixed(1), x2: b.x.toFixed(1), y2: b.y.toFixed(1), 'class': kind });
}

function nameLine(svg, line, places) {
var a = places[line.from], b = places[line.to];
if (line.hops < 2) { return; }
draw(svg, 'text', {
x: ((a.x + b.x) / 2).toFixed(1), y: ((a.y + b.y) / 2 + 4).toFixed(1), 'class': 'hops'
}).textContent = hops(line.hops);
}

function nameNode(svg, node, at, place, few) {
// At the edge, away from it.
var side = place.x < 36 ? 'begin' : place.x > WIDTH - 36 ? 'end' : '';
var x = side ? place.x + (side === 'end' ? 8 : -8) : place.x;
draw(svg, 'text', {
x: x.toFixed(1), y: (place.y + (few ? 22 : 17)).toFixed(1), 'class': (at === 0 ? 'own ' : '') + side
}).textContent = shortened(nameOf(node), few ? 12 : 10);
}

function drawNode(svg, node, at, place, few) {
var radius = few ? 8 : 4.5, size = radius * 2;
var kind = (at === 0 ? 'own ' : '') + (node.gateway ? 'gateway ' : '') + (node.hops === null ? 'lost ' : '') +
(node.originator_id === chosen ? 'chosen' : '');
var group = draw(svg, 'g', { 'class': kind, transform: 'translate(' + place.x.toFixed(1) + ',' + place.y.toFixed(1) + ')' });
draw(group, 'circle', { 'class': 'touch', r: few ? 22 : 11 });
if (node.gateway) {
draw(group, 'rect', { 'class': 'node', x: -radius, y: -radius, width: size, height: size });
} else {
draw(group, 'circle', { 'class': 'node', r: radius });
}
draw(group, 'title', {}).textContent = nameOf(node);
group.addEventListener('click', function () {
chosen = node.originator_id === chosen ? null : node.originator_id;
showMap(last);
showChosen(last);
});
}

function shortened(name, most) { return name.length > most ? name.slice(0, most - 1) + '…' : name; }

function showChosen(page) {
var node = page.map.nodes.filter(function (it) { return it.originator_id === chosen; })[0];
put('chosen', node ? text('chosen', nameOf(node), hops(node.hops)) + (node.gateway ? ', ' + text('gateway') : '') : '\u00a0');
}

function showFigures(page) {
put('shared_day', bytes(page.traffic.day.shared_bytes));
put('received_day', bytes(page.traffic.day.received_bytes));
put('shared', bytes(page.traffic.shared_bytes));
put('received', bytes(page.traffic.received_bytes));
put('earned', smt(page.earnings.earned_atto));
put('paid', smt(page.earnings.paid_atto));
put('footer', text('footer', page.version, duration(page.uptime_s)));
}

function showTexts() {
var all = document.querySelectorAll('[data-text]'), at;
for (at = 0; at < all.length; at += 1) { all[at].textContent = text(all[at].getAttribute('data-text')); }
document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
put('language', text('other'));
show('language', true);
var legend = byId('legend');
clear(legend);
['legend_own', 'legend_gateway', 'legend_other', 'legend_way'].forEach(function (key) {
add(legend, 'span', '', text(key));
legend.appendChild(document.createTextNode(' '));
});
}

function showAll(page) {
document.title = text('title', nameOf(page.node));
put('name', nameOf(page.node));
put('network', text('network', page.network));
showInternet(page);
showPath(page);
showNeighbors(page);
showMap(page);
showChosen(page);
showFigures(page);
}

function notice(key) {
document.body.className = key ? 'stale' : '';
show('notice', !!key);
put('notice', key ? text(key) : '');
}

function take(answer) {
var page = null;
try { page = JSON.parse(answer); } catch (error) { }
if (!page) { return notice('lost'); }
if (page.schema !== 1) { return notice('other_schema'); }
last = page;
notice(null);
remember(page.neighbors);
showAll(page);
}

function ask() {
// Nobody looks: the router has other things to do.
if (document.hidden) { return later(); }
var request = new XMLHttpRequest();
request.open('GET', '/status.json');
request.timeout = PATIENCE_MS;
request.onload = function () {
if (request.status === 200) { take(request.responseText); } else { notice('lost'); }
};
request.onerror = request.ontimeout = function () { notice('lost'); };
request.onloadend = later;
request.send();
}

function later() { setTimeout(ask, EVERY_MS); }

byId('language').addEventListener('click', function () {
language = language === 'zh' ? 'en' : 'zh';
showTexts();
if (last) { showAll(last); }
});
showTexts();
ask();
}());
