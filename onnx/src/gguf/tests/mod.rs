mod damage;
mod reading;
mod refusals;
