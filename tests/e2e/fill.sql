-- 50,000 customers and 20,000 orders, as various as such tables are. Times lie in the past, each customer's
-- `updated_at` is its own: the second load's bookmark is one row.
insert into customers
select
  md5('customer ' || n)::uuid,
  case n % 17 when 0 then null when 1 then E'Zo\u00eb "Z" O''Hara \\ ' || n else 'Name ' || n end,
  case when n % 19 = 0 then '{"phones": []}'
    else jsonb_build_object('email', n || '@example.com', 'phones', jsonb_build_array('+49 ' || n)) end,
  (array['free', 'team', 'business'])[n % 3 + 1],
  nullif(n % 40, 0),
  case n % 101 when 0 then 'NaN' when 1 then null else n % 90000 / 8.0 end,
  n % 2 = 0,
  case n % 23 when 0 then null when 1 then 'infinity' else current_date + n % 365 end,
  case n % 5 when 0 then '{}' when 1 then array['vip', E'gr\u00fc\u00df, "dich" {\\}'] else array['t' || n % 7] end,
  now() - interval '700 days' + n * interval '15 minutes 0.25 seconds',
  now() - interval '60 days' + n * interval '1.1 minutes'
from generate_series(1, 50000) n;

insert into orders (customer_id, amount, currency, coupon, gift, deliver_on, page_url, card_last4, created_at)
select
  md5('customer ' || n % 9000 + 1)::uuid,
  (n * 37) % 100000 / 100.0,
  (array['EUR', 'USD', 'GBP'])[n % 3 + 1],
  case when n % 4 = 0 then 'SPRING' || n end,
  case n % 3 when 0 then null else n % 3 = 1 end,
  case when n % 6 > 0 then current_date + n % 30 end,
  'https://shop.example/checkout?cart=' || n,
  lpad((n % 10000)::text, 4, '0'),
  now() - interval '30 days' + n * interval '1.3 minutes'
from generate_series(1, 20000) n;
