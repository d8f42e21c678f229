// Writes documents and the hashes that they must have, for COPY.
//
//	node documents.js LIBRARY SEED KIND...
//
// LIBRARY is the directory of the npm package "canonicalize".  The kinds:
//
//	vectors		the test vectors that come with the library
//	documents	10,000 random documents, spelt at random
//	latin1		2,000 of these, without characters that LATIN1 lacks
//	numbers		300,000 doubles as JavaScript writes them, 100 to a document
//	decimals	50,000 decimals, of which some are no double's canonical form
//
// The hash is SHA-256, by Node's crypto, of what the library makes of the
// document, or "refused" if that would change a number in it.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

const [library, seed, ...kinds] = process.argv.slice(2);
const canonicalize = require(library);

// ---------------------------------------------------------------- randomness

// A 32-bit generator by Marsaglia (xorshift); the same seed, the same documents.
let state = (Number(seed) * 2654435761 + 1) >>> 0 || 1;

function bits()
{
	state ^= state << 13;
	state >>>= 0;
	state ^= state >>> 17;
	state ^= state << 5;
	state >>>= 0;
	return state;
}

const below = n => bits() % n;
const chance = n => below(n) === 0;
const pick = list => list[below(list.length)];

function shuffle(list)
{
	for (let i = list.length - 1; i > 0; i--)
	{
		const j = below(i + 1);
		[list[i], list[j]] = [list[j], list[i]];
	}
	return list;
}

// ------------------------------------------------------------------- numbers

const view = new DataView(new ArrayBuffer(8));

function fromBits(pattern)
{
	view.setBigUint64(0, pattern);
	return view.getFloat64(0);
}

function toBits(number)
{
	view.setFloat64(0, number);
	return view.getBigUint64(0);
}

function randomBits()
{
	const number = fromBits(BigInt(bits()) << 32n | BigInt(bits()));

	return Number.isFinite(number) ? number : randomBits();
}

// One of the doubles beside a number, or itself.
function beside(number)
{
	const result = fromBits(BigInt.asUintN(64, toBits(number) + BigInt(below(5) - 2)));

	return Number.isFinite(result) ? result : number;
}

const sign = number => chance(3) ? -number : number;

// A number of so many random digits, the first of which is not 0.
function digits(n)
{
	let result = String(1 + below(9));

	while (result.length < n)
		result += below(10);
	return result;
}

const randomNumber = () => sign(pick([
	randomBits,
	() => below(10),
	() => below(100000) / 100,
	() => bits(),
	() => beside(2 ** (below(2098) - 1074)),
	() => beside(Number('1e' + (below(632) - 323))),
	() => Number(digits(1 + below(17)) + 'e' + (below(50) - 25)),
	// Where a decimal may lie exactly between two doubles.
	() => beside(Number(digits(1 + below(8)) + 'e' + (10 + below(20)))),
	() => beside(2 ** 53 * (1 + below(1000))),
	// Denormal ones.
	() => fromBits(BigInt(bits()) << BigInt(below(20))),
	() => 0,
])());

// The same number, otherwise spelt; the digits stay those of the shortest form.
function spellNumber(number)
{
	const shortest = Object.is(number, -0) ? '-0' : JSON.stringify(number);

	switch (below(6))
	{
		case 0:
			return number.toExponential();
		case 1:
			return number.toExponential().toUpperCase().replace('+', '');
		case 2:
			return shortest.includes('e') ? shortest : shortest + (shortest.includes('.') ? '00' : '.00');
		default:
			return shortest;
	}
}

// ------------------------------------------------------------------- strings

let highest = 0x10ffff;

function randomCharacter()
{
	const code = pick([
		() => 1 + below(0x1f),
		() => 0x20 + below(0x60),
		() => 0x20 + below(0x60),
		() => pick([0x22, 0x2f, 0x5c, 0x7f, 0x3c, 0x27]),
		() => 0x80 + below(0x80),
		() => 0x100 + below(0x700),
		() => 0x800 + below(0xd800 - 0x800),
		() => 0xe000 + below(0x2000),
		() => 0x10000 + below(0x100000),
		() => pick([0x2028, 0x2029, 0xd7ff, 0xe000, 0xfeff, 0xfffd, 0xffff, 0x10000, 0x10ffff]),
	])();

	return code <= highest ? String.fromCodePoint(code) : randomCharacter();
}

function randomString(longest)
{
	let result = '';

	for (let n = below(longest + 1); n > 0; n--)
		result += randomCharacter();
	return result;
}

function spellString(string)
{
	let result = '"';

	for (const character of string)
	{
		const plain = JSON.stringify(character).slice(1, -1);

		if (chance(6))
			for (let i = 0; i < character.length; i++)
				result += '\\u' + character.charCodeAt(i).toString(16).padStart(4, '0');
		else if (character === '/' && chance(2))
			result += '\\/';
		else
			result += plain;
	}
	return result + '"';
}

// ----------------------------------------------------------------- documents

function randomValue(depth)
{
	switch (below(depth > 0 ? 10 : 6))
	{
		case 0:
			return pick([null, true, false]);
		case 1:
		case 2:
			return randomString(chance(500) ? 20000 : 12);
		case 3:
		case 4:
		case 5:
			return randomNumber();
		case 6:
		case 7:
			return Array.from({length: below(6)}, () => randomValue(depth - 1));
		default:
			return randomObject(depth);
	}
}

function randomObject(depth)
{
	const result = Object.create(null);
	const common = randomString(3);

	for (let n = chance(100) ? 100 : below(7); n > 0; n--)
		result[(chance(2) ? common : '') + randomString(4)] = randomValue(depth - 1);
	return result;
}

const space = () => chance(8) ? pick([' ', '\n', '\t', '\r\n', '    ']) : '';

function spell(value)
{
	const around = text => space() + text + space();

	if (typeof value === 'number')
		return around(spellNumber(value));
	if (typeof value === 'string')
		return around(spellString(value));
	if (value === null || typeof value !== 'object')
		return around(String(value));
	if (Array.isArray(value))
		return around('[' + (value.map(spell).join(',') || space()) + ']');

	const names = shuffle(Object.keys(value));
	const members = names.map(name => around(spellString(name)) + ':' + spell(value[name]));

	// Of a name that is given twice, the last counts, for both parsers.
	if (names.length > 0 && chance(10))
		members.unshift(spellString(pick(names)) + ':"overwritten"');
	return around('{' + (members.join(',') || space()) + '}');
}

// -------------------------------------------------------------------- output

const sha256 = text => crypto.createHash('sha256').update(text, 'utf8').digest('hex');
const escapes = {'\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t'};
const lines = [];

function emit(kind, text, expected)
{
	lines.push([kind, text.replace(/[\\\n\r\t]/g, c => escapes[c]), expected].join('\t') + '\n');
}

function vectors()
{
	const data = path.join(library, 'test', 'testdata');

	for (const file of fs.readdirSync(path.join(data, 'input')).sort())
	{
		const input = fs.readFileSync(path.join(data, 'input', file), 'utf8');
		const output = fs.readFileSync(path.join(data, 'output', file), 'utf8').trim();
		const lossy = '333333333.33333329';
		const kind = 'vector ' + file;

		if (canonicalize(JSON.parse(input)) !== output)
			throw new Error(`the library does not do as ${file} has it`);
		if (input.includes(lossy))
			emit(kind, input, 'refused');
		emit(kind, input.replace(lossy, '333333333.3333333'), sha256(output));
	}
}

function documents(kind, n)
{
	for (; n > 0; n--)
	{
		const text = spell(chance(10) ? randomValue(0) : randomObject(chance(20) ? 5 : 3));

		emit(kind, text, sha256(canonicalize(JSON.parse(text))));
	}
}

function numbers(n)
{
	const all = [];

	// All powers of two and ten, and what is beside them.
	for (let e = -1074; e <= 1023; e++)
		for (const delta of [-1n, 0n, 1n])
			all.push(fromBits(toBits(2 ** e) + delta));
	for (let e = -323; e <= 308; e++)
		for (const delta of [-1n, 0n, 1n])
			all.push(fromBits(toBits(Number('1e' + e)) + delta));
	while (all.length < n)
		all.push(chance(2) ? sign(randomBits()) : randomNumber());
	for (let i = 0; i < n; i += 100)
	{
		const some = all.slice(i, i + 100);

		emit('numbers', '[' + some.map(spellNumber).join(',') + ']', sha256(canonicalize(some)));
	}
}

// A decimal as sign, digits and exponent, to compare two of them exactly.
function decimal(text)
{
	const [, minus, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:e([-+]?\d+))?$/i.exec(text);
	const all = (whole + fraction).replace(/^0+/, '');
	const significant = all.replace(/0+$/, '');

	return significant === '' ? '0'
		: minus + significant + 'e' + (Number(exponent) - fraction.length + all.length - significant.length);
}

function decimals(n)
{
	for (; n > 0; n--)
	{
		const text = pick([
			() => digits(14 + below(6)) + 'e' + (below(640) - 340),
			() => digits(16 + below(4)),
			() => digits(1 + below(17)) + '.' + digits(1 + below(17)),
			() => '0.' + '0'.repeat(below(10)) + digits(15 + below(4)),
			() => String(BigInt(2 ** 53) * BigInt(1 + below(5000)) + BigInt(below(9))),
			() => String(BigInt(beside(2 ** (54 + below(70)))) + BigInt(below(3))),
			() => digits(1 + below(3)) + 'e' + (300 + below(20)),
			() => digits(1 + below(3)) + 'e-' + (300 + below(40)),
			// Exactly between two doubles, or nearly so.
			() => String(BigInt(digits(1 + below(8))) * 10n ** BigInt(10 + below(20))),
			() => JSON.stringify(Math.abs(randomBits())).replace(/(\d)(e|$)/, (_, d, e) => (Number(d) ^ 1) + e),
		])().replace(/^/, chance(3) ? '-' : '');
		const number = Number(text);
		const faithful = Number.isFinite(number) && decimal(text) === decimal(JSON.stringify(number));

		emit('decimals', text, faithful ? sha256(canonicalize(number)) : 'refused');
	}
}

for (const kind of kinds)
{
	switch (kind)
	{
		case 'vectors':
			vectors();
			break;
		case 'documents':
			documents(kind, 10000);
			break;
		case 'latin1':
			highest = 0xff;
			documents(kind, 2000);
			break;
		case 'numbers':
			numbers(300000);
			break;
		case 'decimals':
			decimals(50000);
			break;
		default:
			throw new Error(`unknown kind ${kind}`);
	}
}
process.stdout.write(lines.join(''));
