-- Our side: the content, from the JSON files of Debian's iso-codes; the
-- extension; the other side's tables, as foreign tables in schema "remote"; and
-- both as sources.

INSERT INTO country
SELECT alpha_3, alpha_2, "numeric", name, official_name
FROM jsonb_to_recordset(pg_read_file('/usr/share/iso-codes/json/iso_3166-1.json')::jsonb -> '3166-1')
	AS r(alpha_3 text, alpha_2 text, "numeric" text, name text, official_name text);

INSERT INTO subdivision
SELECT code, name, type, parent
FROM jsonb_to_recordset(pg_read_file('/usr/share/iso-codes/json/iso_3166-2.json')::jsonb -> '3166-2')
	AS r(code text, name text, type text, parent text);

INSERT INTO language
SELECT alpha_3, alpha_2, name, scope, type
FROM jsonb_to_recordset(pg_read_file('/usr/share/iso-codes/json/iso_639-3.json')::jsonb -> '639-3')
	AS r(alpha_3 text, alpha_2 text, name text, scope text, type text);

INSERT INTO currency
SELECT alpha_3, "numeric", name
FROM jsonb_to_recordset(pg_read_file('/usr/share/iso-codes/json/iso_4217.json')::jsonb -> '4217')
	AS r(alpha_3 text, "numeric" text, name text);

INSERT INTO script
SELECT alpha_4, "numeric", name
FROM jsonb_to_recordset(pg_read_file('/usr/share/iso-codes/json/iso_15924.json')::jsonb -> '15924')
	AS r(alpha_4 text, "numeric" text, name text);

CREATE EXTENSION syncstate;

-- Who writes the state notifies those who follow it.
ALTER DATABASE cms SET syncstate.notify = 'changes';

-- With postgres_fdw a batch that is written over there and its checkpoint here
-- are one transaction: the other side commits just before ours does.
CREATE EXTENSION postgres_fdw;
\getenv host PGHOST
\getenv port PGPORT
\getenv user PGUSER
\getenv password PGPASSWORD
CREATE SERVER remote FOREIGN DATA WRAPPER postgres_fdw
	OPTIONS (host :'host', port :'port', dbname 'remote', batch_size '500', fetch_size '1000',
		extensions 'syncstate', async_capable 'true');
CREATE USER MAPPING FOR CURRENT_USER SERVER remote
	OPTIONS (user :'user', password :'password');
CREATE SCHEMA remote;
IMPORT FOREIGN SCHEMA public LIMIT TO (country, subdivision, language, currency, script)
	FROM SERVER remote INTO remote;

ANALYZE;

-- Where the rows are.  The other server has the extension too and is known to
-- (option extensions, above), so it computes its digests itself: one row of each
-- crosses the wire.  Our side's are kept by triggers and need no reading at all.
SELECT sync_source_attach(t::text, t, format('remote.%I', t)::regclass, row_base => true)
FROM unnest('{country, subdivision, language, currency, script}'::regclass[]) AS t \g /dev/null
SELECT sync_source_track(type_key) FROM syncstate.sync_source \g /dev/null
