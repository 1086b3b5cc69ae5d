create database shop character set utf8mb4;
create user tap@'127.0.0.1';
grant all on *.* to tap@'127.0.0.1';

create table shop.users (
  id int unsigned primary key,
  email varchar(40) not null,
  name varchar(40),
  balance decimal(12, 2),
  points bigint,
  ratio double,
  is_active tinyint(1),
  flag bit(1),
  born_on date,
  seen_at datetime(3),
  updated_at timestamp not null,
  wakes_at time,
  plan enum('free', 'team'),
  traits set('a', 'b'),
  address json,
  photo varbinary(8),
  joined year
);

create table shop.events (
  id bigint primary key,
  user_id int unsigned,
  kind varchar(20),
  amount decimal(10, 4),
  happened_at datetime not null
);

insert into shop.users
select
  seq,
  concat('u', seq, '@example.com'),
  concat('Zoë ', seq),
  seq * 10.25 - 11,
  9007199254740000 + seq,
  seq / 3,
  seq % 2,
  seq % 2,
  date '1970-01-31' + interval seq day,
  timestamp '2026-01-01 12:00:00.125' + interval seq hour,
  timestamp '2026-03-01 00:00:00' + interval seq minute,
  time '06:30:00' + interval seq second,
  if(seq % 2, 'free', 'team'),
  'a,b',
  json_object('city', concat('Town ', seq)),
  unhex('00ff'),
  2020
from shop.seq_1_to_5;

insert into shop.users (id, email, updated_at, is_active)
values (6, 'u6@example.com', '2026-03-01 00:06:00', 0);

insert into shop.events
select
  seq,
  (seq - 1) div 2 + 1,
  if(seq % 2, 'Signed In', 'Ordered'),
  seq * 1.1250,
  timestamp '2026-03-02 00:00:00' + interval seq minute
from shop.seq_1_to_12;
