-- The other side: it begins empty, and keeps a log of each row that is written,
-- by which the demo proves that no row was copied twice.

CREATE TABLE written (
	content_type text NOT NULL,
	code text NOT NULL,
	operation text NOT NULL
);

-- (postgres_fdw leaves only pg_catalog in the search_path over here.)
CREATE FUNCTION log_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.written VALUES (TG_TABLE_NAME, coalesce(NEW.code, OLD.code), TG_OP);
	RETURN NULL;
END
$$;

CREATE TRIGGER log_write AFTER INSERT OR UPDATE OR DELETE ON country
	FOR EACH ROW EXECUTE FUNCTION log_write();
CREATE TRIGGER log_write AFTER INSERT OR UPDATE OR DELETE ON subdivision
	FOR EACH ROW EXECUTE FUNCTION log_write();
CREATE TRIGGER log_write AFTER INSERT OR UPDATE OR DELETE ON language
	FOR EACH ROW EXECUTE FUNCTION log_write();
CREATE TRIGGER log_write AFTER INSERT OR UPDATE OR DELETE ON currency
	FOR EACH ROW EXECUTE FUNCTION log_write();
CREATE TRIGGER log_write AFTER INSERT OR UPDATE OR DELETE ON script
	FOR EACH ROW EXECUTE FUNCTION log_write();

-- For digests that are computed here.
CREATE EXTENSION syncstate;
