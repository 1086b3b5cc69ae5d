-- Two tables with a column of each type that people have. :users users, and three events of each.
create type tier as enum ('free', 'team', 'business');

create table users (
  id integer primary key,
  code varchar(20) not null,
  name text,
  points bigint,
  balance numeric(12, 2),
  score numeric,
  is_active boolean not null,
  born_on date,
  renews_on date,
  last_seen timestamp,
  expires_at timestamptz,
  address jsonb,
  labels jsonb,
  tags text[],
  sizes numeric(6, 2)[],
  plan tier not null,
  photo bytea,
  ref uuid not null,
  quota interval,
  wakes_at time,
  ratio real,
  weight double precision,
  updated_at timestamptz not null
);

create table events (
  id bigint primary key,
  user_id integer not null,
  kind text not null,
  amount numeric(10, 2),
  payload jsonb,
  happened_at timestamptz not null
);

insert into users
select
  n,
  'C-' || n,
  case n % 5 when 0 then null when 1 then E'Zo\u00eb "Z" O''Hara \\ ' || n else 'Name ' || n end,
  9007199254740000 + n,
  case n % 7 when 0 then null else -1.00 + n * 10.25 end,
  case n % 6 when 0 then null when 1 then 'NaN' else n / 8.0 end,
  n % 2 = 0,
  case when n % 4 > 0 then date '1970-01-31' + n end,
  case n % 6 when 0 then null when 1 then 'infinity' when 4 then '-infinity' else date '2026-02-28' + n end,
  case when n % 4 > 0 then timestamp '2026-01-01 12:00:00.25' + n * interval '1 hour' end,
  case n % 6 when 0 then null when 1 then 'infinity' when 4 then '-infinity'
    else timestamptz '2027-01-01 00:00:00+02' + n * interval '1 day' end,
  case when n % 4 > 0 then jsonb_build_object('city', 'Town ' || n, 'geo', jsonb_build_object('lat', n / 4.0)) end,
  case n % 6 when 0 then null when 1 then jsonb_build_array('new', n) when 2 then '[{"k": 1}, {"k": 2}]'
    else jsonb_build_object('k', n) end,
  case n % 3 when 0 then null when 1 then '{}' else array['vip', E'gr\u00fc\u00df, "dich" {\\}'] end,
  case when n % 2 = 0 then array[n + 0.25, 1.5] end,
  (array['free', 'team', 'business'])[n % 3 + 1]::tier,
  case when n % 2 = 0 then decode(lpad(to_hex(n), 8, '0'), 'hex') end,
  md5('user ' || n)::uuid,
  case when n % 2 = 0 then n * interval '1 day 02:03:04' end,
  time '06:30:00' + n * interval '1 second',
  n / 4.0,
  n / 3.0,
  timestamptz '2026-03-01 00:00:00.125+00' + n * interval '1 minute'
from generate_series(1, :users) n;

insert into events
select
  n,
  (n - 1) / 3 + 1,
  (array['Signed In', 'Searched', 'Ordered'])[n % 3 + 1],
  case when n % 3 = 2 then n * 1.1 end,
  case n % 3 when 0 then null when 1 then jsonb_build_array('a', n) else jsonb_build_object('term', 't' || n) end,
  timestamptz '2026-03-02 00:00:00.5+00' + n * interval '1 minute'
from generate_series(1, :users * 3) n;
