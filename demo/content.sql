-- Five content types, the same tables on both sides.
--
-- A copy goes through a table in key order, with the last key of a batch in its
-- checkpoint.  COLLATE "C" makes that order the same on every server.

CREATE TABLE country (
	code text COLLATE "C" PRIMARY KEY,
	alpha_2 text,
	number text,
	name text NOT NULL,
	official_name text
);

CREATE TABLE subdivision (
	code text COLLATE "C" PRIMARY KEY,
	name text NOT NULL,
	kind text,
	parent text
);

CREATE TABLE language (
	code text COLLATE "C" PRIMARY KEY,
	alpha_2 text,
	name text NOT NULL,
	scope text,
	kind text
);

CREATE TABLE currency (
	code text COLLATE "C" PRIMARY KEY,
	number text,
	name text NOT NULL
);

CREATE TABLE script (
	code text COLLATE "C" PRIMARY KEY,
	number text,
	name text NOT NULL
);
