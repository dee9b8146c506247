-- Two roles for one installation: the owner of the tables, who migrates, and the service, which cannot change what was
-- recorded. Run once as a superuser in the empty database, and again after any migration that adds an append-only table:
--
--   createdb clinic
--   psql -d clinic -v owner_password=... -v app_password=... -f docs/deploy/roles.sql
--
-- It may be run again at any time.
\set ON_ERROR_STOP on
begin;

select format('create role clinic_owner login') where not exists (select from pg_roles where rolname = 'clinic_owner') \gexec
select format('create role clinic_app login') where not exists (select from pg_roles where rolname = 'clinic_app') \gexec
alter role clinic_owner login nosuperuser nocreatedb nocreaterole password :'owner_password';
alter role clinic_app login nosuperuser nocreatedb nocreaterole password :'app_password';

select format('revoke all on database %I from public', current_database()) \gexec
select format('grant connect, temporary on database %I to clinic_owner, clinic_app', current_database()) \gexec
select format('grant create on database %I to clinic_owner', current_database()) \gexec
alter schema public owner to clinic_owner;
revoke all on schema public from public;
grant usage on schema public to clinic_app;

-- Tables made by another role before this script was run.
select format('alter table public.%I owner to clinic_owner', tablename) from pg_tables
    where schemaname = 'public' and tableowner <> 'clinic_owner' \gexec
select format('alter function public.%I(%s) owner to clinic_owner', proname, pg_get_function_identity_arguments(p.oid))
    from pg_proc p where pronamespace = 'public'::regnamespace and proowner <> 'clinic_owner'::regrole
        and not exists (select from pg_depend where objid = p.oid and deptype = 'e') \gexec

-- What the service may do, with today's tables and those of migrations to come. No TRUNCATE, no TRIGGER, no REFERENCES.
grant select, insert, update, delete on all tables in schema public to clinic_app;
grant usage, select, update on all sequences in schema public to clinic_app;
alter default privileges for role clinic_owner in schema public grant select, insert, update, delete on tables to clinic_app;
alter default privileges for role clinic_owner in schema public grant usage, select, update on sequences to clinic_app;

-- Evidence is only added to: tables that a trigger <table>_append_only guards.
select format('revoke update, delete on public.%I from clinic_app', c.relname)
    from pg_trigger t join pg_class c on c.oid = t.tgrelid where t.tgname = c.relname || '_append_only' \gexec
select 'revoke insert, update, delete on public.alembic_version from clinic_app'
    where to_regclass('public.alembic_version') is not null \gexec

-- The guard against copies reads where the server's data is.
grant pg_read_all_settings to clinic_app;
commit;
