megabar analyse pressure_gauge "$MEGABAR_DATA"/ruby/Ruby.spe --set gauge=ruby --set scale=Ruby2020 \
    --set rows=11-24 --set columns=82-752 --set temperature_k=300
